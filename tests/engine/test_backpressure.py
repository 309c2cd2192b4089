"""
A full queue off the loop: block once, then refuse until low water; the reserve; the overflow.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import hydra
from hydra.engine import ENGINE
from tests.contract.kit import (
    PATIENCE,
    Sink,
    block_writer,
    closed,
    configure,
    destination,
    proven,
    quiet,
)

pytestmark = pytest.mark.integration


@pytest.fixture(name="log")
def _log() -> hydra.Logger:
    return hydra.get_logger("shop")


def small(**more: object) -> dict[str, object]:
    """Return the settings of a queue that is full soon."""
    return {"records": 16, "reserve": 4, "block_timeout": 0.05} | more


def fill(log: hydra.Logger, size: int = 16) -> None:
    """Fill the queue of a blocked writer to its cap."""
    for n in range(size):
        assert log.info("fills the queue", n=n) is hydra.QUEUED


def test_one_full_timeout_then_refused_until_low_water(log):
    """The first call waits the whole timeout; those after it do not wait again until low water."""
    sink = Sink()
    configure(sink, queue=small())
    block_writer(sink, log)
    fill(log)
    began = time.monotonic()
    first = log.info("waits")
    waited = time.monotonic() - began
    began = time.monotonic()
    rest = [log.info("refused") for _ in range(1000)]
    refused = time.monotonic() - began
    blocked = hydra.stats().destinations["app"].blocked_seconds
    sink.open()
    quiet()
    assert log.info("has room") is hydra.QUEUED
    stats = closed()

    assert first is hydra.DROPPED
    assert waited >= 0.05
    assert {hydra.DROPPED} == set(rest)
    assert refused < 1.0
    assert 0.05 <= blocked < 0.05 + refused
    assert {("info", "queue_full"): 1001} == stats.drops
    assert "has room" == sink.messages[-1]
    proven(sink.lines)


def test_other_destinations_are_not_affected(log):
    """What one destination refuses the others get, and their callers wait for it only once."""
    slow, fast = Sink(), Sink()
    hydra.configure(
        level="trace",
        destinations=[
            destination(slow, "slow", queue=small()),
            destination(fast, "fast"),
        ],
    )
    block_writer(slow, log)
    fill(log)
    receipts = [log.info("placed", n=n) for n in range(100)]
    slow.open()
    stats = closed()

    # One destination has it, so the record is not dropped as a whole.
    assert {hydra.QUEUED} == set(receipts)
    assert 100 == fast.messages.count("placed")
    assert 0 == slow.messages.count("placed")
    assert 100 == stats.destinations["slow"].dropped
    assert 0 == stats.destinations["fast"].dropped
    assert 0.0 == stats.destinations["fast"].blocked_seconds
    proven(slow.lines)
    proven(fast.lines)


def test_blocked_callers_go_on_when_there_is_room(log):
    """Threads that wait for room get it, and nothing is dropped."""
    sink = Sink()
    configure(sink, queue=small(block_timeout=30.0))
    block_writer(sink, log)
    fill(log)
    queue = ENGINE.run.services["app"].queue
    threads = [
        threading.Thread(target=lambda n=n: [log.info("waited", t=n, n=m) for m in range(20)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    while len(queue._waiters) < 4:
        time.sleep(0)
    sink.open()
    for thread in threads:
        thread.join()
    stats = closed()

    assert {} == stats.drops
    assert stats.destinations["app"].blocked_seconds > 0
    for thread in range(4):
        assert list(range(20)) == [r["n"] for r in sink.records if r.get("t") == thread]
    proven(sink.lines)


def test_drop_new(log):
    """With drop_new nobody ever waits, and the newest is the one that goes."""
    sink = Sink()
    configure(sink, queue=small(when_full="drop_new", block_timeout=30.0))
    block_writer(sink, log)
    fill(log)
    began = time.monotonic()
    assert {hydra.DROPPED} == {log.info("refused") for _ in range(500)}
    assert time.monotonic() - began < 5.0
    sink.open()
    stats = closed()

    assert 0.0 == stats.destinations["app"].blocked_seconds
    assert 17 == stats.delivered
    assert {("info", "queue_full"): 500} == stats.drops
    proven(sink.lines)


def test_call_on_a_thread_with_a_loop_does_not_block(log):
    """Where a loop runs the block timeout does not apply, whoever else waits."""
    sink = Sink()
    configure(sink, queue=small(block_timeout=30.0))
    block_writer(sink, log)
    fill(log)

    async def main():
        began = time.monotonic()
        for _ in range(100):
            log.info("let go")
        return time.monotonic() - began

    took = asyncio.run(main())
    sink.open()

    assert took < 5.0
    assert {("info", "discarded"): 100} == closed().drops


def test_call_inside_a_blocked_call_does_not_wait(log):
    """A handler that interrupts a waiting call is not made to wait for the same room."""
    import signal

    sink = Sink()
    configure(sink, queue=small(block_timeout=0.4))
    block_writer(sink, log)
    fill(log)
    took = []

    def handle(number, frame):
        began = time.monotonic()
        took.append((log.info("in the handler"), time.monotonic() - began))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        assert log.info("waits") is hydra.DROPPED
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    sink.open()
    closed()

    assert took
    assert {hydra.DROPPED} == {receipt for receipt, _ in took}
    assert all(seconds < 0.2 for _, seconds in took)


def test_reserve(log):
    """A queue that is full for others still has places for ERROR and above."""
    sink = Sink()
    configure(sink, queue=small(when_full="drop_new"), journal={"enabled": False})
    block_writer(sink, log)
    fill(log)

    async def main():
        # On a loop nobody is made to help or to wait.
        return [log.error("failed", n=n) for n in range(4)]

    receipts = asyncio.run(main())
    assert log.info("refused") is hydra.DROPPED
    sink.open()
    told = [receipt.wait(PATIENCE) for receipt in receipts]
    stats = closed()

    assert all(each.delivered for each in told)
    assert {("info", "queue_full"): 1} == stats.drops


def test_errors_beyond_the_reserve_wait_in_the_journal(log):
    """Thousands of ERRORs against a hung sink take no memory for their lines, and all arrive."""
    sink = Sink()
    configure(sink, queue=small(), journal={"quota": "8 MiB"})
    block_writer(sink, log)
    fill(log)
    receipts = [log.error("failed " + "x" * 500, n=n) for n in range(2000)]
    queue = ENGINE.run.services["app"].queue
    stats = hydra.stats()

    assert {hydra.Durability.KERNEL} == {each.durability for each in receipts}
    assert 2017 == stats.pending
    assert {} == stats.drops
    assert 2000 - 4 == len(queue.overflow)
    assert 0 == sum(len(entry.line) for entry in queue.overflow)
    # A call that still has its line could not be told from one that fetched it.
    sink.open()
    assert all(receipt.wait(PATIENCE).delivered for receipt in receipts)
    stats = closed()

    assert sorted(range(2000)) == sorted(
        each["n"] for each in sink.records if each["message"].startswith("failed")
    )
    assert 2017 == stats.delivered
    assert {} == stats.drops
    assert 0 == stats.journal.live
    proven(sink.lines)


def test_barrier_waits_for_what_is_in_the_journal(log):
    """flush() covers records that were put aside for want of room."""
    sink = Sink()
    configure(sink, queue=small())
    block_writer(sink, log)
    fill(log)
    for n in range(200):
        log.error("failed", n=n)
    threading.Timer(0.05, sink.open).start()
    stats = quiet()

    assert 0 == stats.pending
    assert 200 == sink.messages.count("failed")


def test_errors_beyond_reserve_and_quota(log):
    """With reserve and journal both full an ERROR can be lost here; it is counted and declared."""
    sink = Sink()
    configure(
        sink,
        queue=small(block_timeout=0.0),
        journal={"quota": "256 KiB", "segment": "128 KiB"},
    )
    block_writer(sink, log)
    fill(log)
    receipts = [log.error("failed " + "x" * 2000, n=n) for n in range(300)]
    lost = [each for each in receipts if each.wait(0).dropped]
    sink.open()
    stats = closed()

    assert lost
    assert len(lost) == stats.dropped
    assert {("error", "queue_full"): len(lost)} == stats.drops
    assert 300 - len(lost) == sum(m.startswith("failed") for m in sink.messages)
    assert stats.journal.failed == len(lost) or stats.journal.failed > 0
    proven(sink.lines)


def test_bound_in_bytes(log):
    """A long line takes as many places as its bytes are worth, so memory is bounded, too."""
    sink = Sink()
    configure(
        sink, queue={"records": 1000, "bytes": "128 KiB", "when_full": "drop_new", "reserve": 1}
    )
    block_writer(sink, log)
    receipts = [log.info("x" * 10_000) for _ in range(50)]
    stats = hydra.stats().destinations["app"]
    sink.open()
    final = closed()

    taken = receipts.count(hydra.QUEUED)
    assert 12 <= taken <= 13
    assert taken == stats.queued
    assert stats.queued_bytes <= 128 * 1024 + 10_200
    assert 50 - taken == final.dropped
    proven(sink.lines)


def test_many_threads_against_a_slow_sink(log):
    """
    Under load from several threads with refusals nothing is lost unaccounted, order is kept
    (that of ERRORs as long as none of them has to come back from the journal).
    """
    sink = Sink()
    configure(sink, queue={"records": 64, "reserve": 8, "block_timeout": 0.001})

    def work(name):
        for n in range(2000):
            (log.error if n % 50 == 0 else log.info)("placed", t=name, n=n)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    closed()

    for name in range(4):
        mine = [r["n"] for r in sink.records if r["t"] == name]
        ordinary = [n for n in mine if n % 50]
        assert sorted(ordinary) == ordinary
        assert set(range(0, 2000, 50)) <= set(mine)
    proven(sink.lines)
