"""
A signal handler raises in the middle of a logging call, at whatever bytecode it may be.

Rule: numbers are never skipped. What was numbered is delivered, or dropped and
declared; the ledger balances afterwards.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

import hydra
from tests.contract.kit import (
    Sink,
    balanced,
    block_writer,
    closed,
    configure,
    destination,
    proven,
    quiet,
)

pytestmark = pytest.mark.integration

TIMES = 2_500


@pytest.fixture(name="swallowed")
def _swallowed(monkeypatch) -> list[BaseException]:
    """What was raised in a finaliser: Python lets nothing out of there, not even a Ctrl-C."""
    found: list[BaseException] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: found.append(given.exc_value))
    return found


@pytest.fixture(name="interrupt")
def _interrupt(swallowed) -> Iterator[Callable[..., int]]:
    armed = False

    def handle(number, frame):
        # An alarm that was due when it was turned off may come later, beside the next one.
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    def interrupt(
        call: Callable[[int], object],
        *,
        times: int = TIMES,
        most: float = 60e-6,
        again: float = 0.0,
    ) -> int:
        """
        Make *call* so many times, each with an alarm within *most* seconds; count the hits.

        With *again*, alarms go on every so many seconds until the call has ended.
        """
        nonlocal armed
        dice = random.Random(1)
        hits = 0
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        for n in range(times):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-6, most), again)
                call(n)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                hits += 1
        armed = False
        return hits

    before = signal.signal(signal.SIGALRM, handle)
    # Threads inherit it: an alarm that a writer's thread catches does not wake this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    yield interrupt
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.signal(signal.SIGALRM, before)

    # A file that was being opened is closed by its finaliser, which says so.
    harmless = (KeyboardInterrupt, ResourceWarning)
    assert [] == [error for error in swallowed if not isinstance(error, harmless)]


@pytest.fixture(name="log")
def _log() -> hydra.Logger:
    return hydra.get_logger("shop")


def test_ordinary_call(interrupt, log):
    """An interrupted call below ERROR has queued its record, or has taken no number."""
    sink = Sink()
    configure(sink)
    hits = interrupt(lambda n: log.info("order placed", n=n))
    stats = closed()

    assert hits > TIMES / 10
    assert stats.accepted == len(sink.records), stats
    assert {} == stats.drops
    assert stats.accepted == sum(
        n for label, n in proven(sink.lines).items() if label.endswith("r")
    )


def test_two_destinations(interrupt, log):
    """A call interrupted between two queues serves the second one before the exception goes on."""
    one, two = Sink(), Sink()
    configure(one, two)
    hits = interrupt(lambda n: log.info("order placed", n=n))
    closed()

    assert hits > TIMES / 10
    assert sorted(one.messages) == sorted(two.messages)
    assert proven(one.lines).items() & proven(two.lines).items()


def test_long_lines(interrupt, log):
    """A line and the padding that stands for its bytes enter the queue together."""
    sink = Sink()
    configure(sink, queue={"records": 1000, "bytes": "128 KiB"})
    long = "x" * 900
    hits = interrupt(lambda n: log.info("order placed", long=long))
    closed()

    assert hits > TIMES / 10
    proven(sink.lines)


@pytest.mark.parametrize("tracked", [False, True])
def test_refused_call(interrupt, log, tracked):
    """A call that finds the queue full has counted its drop, wherever it was interrupted."""
    sink = Sink()
    configure(sink, queue={"records": 16, "when_full": "drop_new"})
    block_writer(sink, log)
    for n in range(16):
        log.info("fills the queue", n=n)
    log = log.tracked() if tracked else log
    hits = interrupt(lambda n: log.info("refused", n=n))
    sink.open()
    stats = closed()

    assert hits > TIMES / 10
    assert stats.dropped > 0
    assert 17 == stats.delivered
    proven(sink.lines)


def test_one_of_two_destinations_is_full(interrupt, log):
    """What one queue refuses and the other takes is settled for both."""
    slow, fast = Sink(), Sink()
    small = {"records": 16, "when_full": "drop_new"}
    hydra.configure(
        destinations=[destination(slow, "slow", queue=small), destination(fast, "fast")]
    )
    block_writer(slow, log)
    hits = interrupt(lambda n: log.info("order placed", n=n))
    slow.open()
    stats = closed()

    assert hits > TIMES / 10
    assert 0 == stats.destinations["fast"].dropped
    proven(slow.lines)
    proven(fast.lines)


def test_guaranteed_call(interrupt, log):
    """An interrupted ERROR is queued, also when the journal has it already."""
    sink = Sink()
    configure(sink)
    # Making the first segment takes longer than any call here is allowed to.
    log.error("first")
    hits = interrupt(lambda n: log.error("payment failed", n=n), most=120e-6)
    stats = closed()

    assert hits > TIMES / 10
    assert {} == stats.drops
    assert 0 == stats.journal.live
    proven(sink.lines)


def test_guaranteed_call_without_journal(interrupt, log):
    """Without a journal the caller waits for a tier; interrupted, the record goes its way."""
    sink = Sink()
    configure(sink, journal={"enabled": False}, queue={"block_timeout": 0.0})
    hits = interrupt(lambda n: log.error("payment failed", n=n), most=120e-6)
    closed()

    assert hits > TIMES / 10
    proven(sink.lines)


def test_guaranteed_call_with_a_full_reserve(interrupt, log):
    """An ERROR for which there is no place is in the overflow, or dropped and declared."""
    sink = Sink()
    configure(
        sink,
        journal={"enabled": False},
        queue={"records": 16, "reserve": 2, "when_full": "drop_new"},
    )
    block_writer(sink, log)
    hits = interrupt(lambda n: log.error("payment failed", n=n), most=120e-6)
    sink.open()
    closed()

    assert hits > TIMES / 10
    proven(sink.lines)


def test_call_that_waits_for_room(interrupt, log):
    """A blocked caller that is interrupted takes no number, and may wait again later."""
    sink = Sink()
    configure(sink, queue={"records": 16, "block_timeout": 20.0})
    block_writer(sink, log)
    for n in range(16):
        log.info("fills the queue", n=n)
    # An alarm between the last look of the interpreter and the wait in C wakes nobody.
    hits = interrupt(lambda n: log.info("waits", n=n), times=300, most=300e-6, again=0.05)
    sink.open()
    log.info("has room")
    stats = closed()

    assert 300 == hits
    assert {} == stats.drops
    assert "has room" == sink.messages[-1]
    proven(sink.lines)


@pytest.mark.leaks_ok(reason="an alarm right after os.open leaves the descriptor to nobody")
def test_direct_call(interrupt, log, tmp_path):
    """After close() the caller writes; interrupted in the middle, it leaves the way free."""
    path = tmp_path / "app.log"
    hydra.configure(
        destinations=[{"name": "app", "type": "file", "path": str(path), "timeout": 5.0}],
        control_records=False,
    )
    log.info("first")
    hydra.close()
    log.info("opens the file")
    hits = interrupt(lambda n: log.info("late", n=n), most=200e-6)
    log.info("last")
    stats = balanced(hydra.close())
    lines = path.read_bytes().splitlines()

    assert hits > TIMES / 10
    assert b'"last"' in lines[-1]
    assert stats.delivered + stats.dropped == stats.accepted
    assert stats.delivered >= len(lines) - hits
    assert len({line.rpartition(b'"id":')[2] for line in lines}) >= stats.delivered


def test_parked_call(interrupt, log):
    """On an event loop a line that is to be parked is parked, or dropped and declared."""
    sink = Sink()
    configure(sink, queue={"records": 16})
    block_writer(sink, log)

    async def scenario() -> int:
        for n in range(16):
            log.info("fills the queue", n=n)
        return interrupt(lambda n: log.info("parked, and let go", n=n))

    hits = asyncio.run(scenario())
    sink.open()
    stats = closed()

    assert hits > TIMES / 10
    assert 0 == stats.pending
    proven(sink.lines)


def test_processor_that_is_interrupted(interrupt, log):
    """An interruption inside a processor does not switch the processors off for the thread."""
    sink = Sink()

    def mark(logger, method, event):
        event["marked"] = True
        return event

    configure(sink, processors=[mark])
    hits = interrupt(lambda n: log.info("order placed", n=n))
    log.info("last")
    quiet()

    assert hits > TIMES / 10
    assert all(record.get("marked") for record in sink.records)
