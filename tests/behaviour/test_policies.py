"""
Full queues under `drop_old`, `shed` and `spill`: a sink that hangs, real threads, each way to call.
"""

from __future__ import annotations

import threading
import time

import pytest

import hydra
from hydra.core.exceptions import ConfigurationError
from hydra.engine import ENGINE
from hydra.queue import State
from tests.contract import kit

pytestmark = pytest.mark.integration

RECORDS = 20


def configure(sink, when_full, **more):
    """Configure a queue of twenty whose writer hangs in *sink*; return the logger."""
    destination = kit.destination(sink, fallback=[{"type": "file"}])
    hydra.configure(
        level="trace",
        destinations=[destination],
        queue={"records": RECORDS, "reserve": 5, "when_full": when_full, "block_timeout": 0.05},
        **more,
    )
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    return log


def fill(log, count=RECORDS, first=0):
    """Log *count* records that all find room."""
    numbers = range(first, first + count)
    assert [hydra.QUEUED] * count == [log.info("fill", n=n) for n in numbers]


def numbers(sink):
    """Return the numbers of the records that arrived."""
    return [record["n"] for record in sink.records if "n" in record]


def ended(sink):
    """Open *sink*, wait until nothing is held, and close."""
    sink.open()
    deadline = time.monotonic() + kit.PATIENCE
    while hydra.flush(kit.PATIENCE).held and time.monotonic() < deadline:
        """What is held is on its way."""
    stats = kit.closed()
    kit.proven(sink.lines)
    return stats


def test_drop_old_keeps_the_newest(sink):
    """The oldest ordinary records make room, nobody waits, and each is counted and declared."""
    log = configure(sink, "drop_old")
    fill(log)

    answers = [log.info("n", n=n) for n in range(RECORDS, 100)]
    stats = ended(sink)

    assert {hydra.QUEUED} == set(answers)
    assert list(range(80, 100)) == numbers(sink)
    assert {("info", "evicted"): 80} == stats.drops
    assert 0.0 == stats.destinations["app"].blocked_seconds


def test_drop_old_spares_errors_and_barriers(sink):
    """ERROR and above are never evicted, and a barrier fires when what was before it is settled."""
    log = configure(sink, "drop_old")
    fill(log, 5)
    errors = [log.error("e", n=n) for n in range(5, 10)]
    told = []
    waiting = threading.Thread(target=lambda: told.append(hydra.flush(kit.PATIENCE)))
    waiting.start()
    entries = ENGINE.run.services["app"].queue.entries
    while len(entries) < 11:
        time.sleep(0)
    for n in range(10, 60):
        log.info("n", n=n)
    sink.open()
    waiting.join()
    settled = [receipt.wait(kit.PATIENCE) for receipt in errors]
    stats = ended(sink)

    assert [True] * 5 == [each.delivered for each in settled]
    assert [5, 6, 7, 8, 9] == [n for n in numbers(sink) if n < 10]
    assert 1 == len(told)
    assert {"evicted"} == {reason for _, reason in stats.drops}


def test_drop_old_tells_the_receipt(sink):
    """A record with a receipt of its own learns that it was evicted."""
    log = configure(sink, "drop_old")
    receipt = log.tracked().info("old")
    fill(log, RECORDS)

    assert {"app": "evicted"} == receipt.wait(0).dropped
    ended(sink)


def test_drop_old_while_the_writer_takes(sink):
    """With threads that evict and a writer that takes at once, each record has one end."""
    log = configure(sink, "drop_old")
    sink.open()
    start = threading.Barrier(4)

    def call(who):
        start.wait()
        for n in range(3_000):
            log.info("n", n=n, who=who)

    threads = [threading.Thread(target=call, args=(who,)) for who in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    stats = ended(sink)

    assert 12_001 == stats.delivered + stats.dropped
    for who in range(4):
        found = [r["n"] for r in sink.records if r.get("who") == who]
        assert sorted(set(found)) == found


def test_drop_old_where_only_errors_are_queued(sink):
    """With nothing to evict the new record is refused."""
    log = configure(sink, "drop_old")
    for n in range(RECORDS):
        log.error("e", n=n)

    assert log.info("n") is hydra.DROPPED
    assert {("info", "queue_full"): 1} == ended(sink).drops


def test_shed_by_level(sink, call_style):
    """Trace and debug are refused from 60 % on, info from 80 %, warning when it is full."""
    log = configure(sink, "shed")

    async def scenario(call):
        for n in range(12):
            assert hydra.QUEUED is await call(log.debug("n", n=n))
        assert hydra.DROPPED is await call(log.debug("n"))
        assert hydra.DROPPED is await call(log.trace("n"))
        for n in range(12, 16):
            assert hydra.QUEUED is await call(log.info("n", n=n))
        assert hydra.DROPPED is await call(log.info("n"))
        for n in range(16, 20):
            assert hydra.QUEUED is await call(log.warning("n", n=n))
        assert hydra.DROPPED is await call(log.info("n"))
        assert call_style.on_loop or hydra.DROPPED is log.warning("n")
        assert call_style.on_loop == (log.warning("n") is not hydra.DROPPED)

    call_style.run(scenario)
    stats = ended(sink)

    shed = {("debug", "shed"): 1, ("trace", "shed"): 1, ("info", "shed"): 2}
    rest = {("warning", "discarded"): 1} if call_style.on_loop else {("warning", "queue_full"): 2}
    assert shed | rest == stats.drops
    assert list(range(20)) == numbers(sink)


def test_spill_holds_what_does_not_fit(sink, call_style):
    """What finds no place is held in a file meanwhile, on a loop as well, and replayed."""
    log = configure(sink, "spill")
    fill(log)

    async def scenario(call):
        return [await call(log.info("n", n=n)) for n in range(RECORDS, 100)]

    answers = call_style.run(scenario)
    spiller = ENGINE.run.services["app"].writer.spiller
    deadline = time.monotonic() + kit.PATIENCE
    while spiller.spilled < 80 and time.monotonic() < deadline:
        time.sleep(0)
    held = kit.balanced(hydra.stats())
    stats = ended(sink)

    assert {hydra.QUEUED} == set(answers)
    assert (80, 80) == (held.held, held.destinations["app"].spilled)
    assert {} == stats.drops
    assert list(range(100)) == sorted(numbers(sink))
    assert 80 == stats.replayed


def test_spill_tells_the_receipt(sink):
    """A record with a receipt of its own learns that it is held."""
    log = configure(sink, "spill")
    fill(log)
    receipt = log.tracked().info("n", n=RECORDS)
    settled = receipt.wait(kit.PATIENCE)

    assert (State.HELD, True) == (settled.fates["app"].state, settled.delivered)
    assert hydra.Durability.KERNEL is receipt.durability
    assert list(range(RECORDS + 1)) == sorted((ended(sink), numbers(sink))[1])


def test_spill_with_its_quota_used_up(sink):
    """When the held store takes no more, callers wait the timeout, then records are dropped."""
    hydra.configure(
        level="trace",
        destinations=[
            kit.destination(sink, fallback=[{"type": "file", "quota": "128 KiB"}]),
        ],
        queue={"records": RECORDS, "reserve": 5, "when_full": "spill", "block_timeout": 0.05},
    )
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    text = "x" * 3_000
    began = time.monotonic()
    answers = [log.info("n", n=n, text=text) for n in range(400)]
    took = time.monotonic() - began
    dropped = answers.count(hydra.DROPPED)
    stats = ended(sink)

    assert took < 15.0
    assert 100 < dropped < 350
    assert {("info", "queue_full"): dropped} == stats.drops
    assert 401 - dropped == stats.delivered


def test_spill_and_threads_and_a_slow_sink(sink):
    """Threads that spill while the writer comes and goes lose nothing."""
    log = configure(sink, "spill")

    def call(who):
        for n in range(1_000):
            log.info("n", n=n, who=who)

    threads = [threading.Thread(target=call, args=(who,)) for who in range(4)]
    for each in threads:
        each.start()
    for _ in range(20):
        sink.open()
        time.sleep(0)
        sink.shut()
    sink.open()
    for each in threads:
        each.join()
    stats = ended(sink)

    assert stats.delivered + stats.dropped == 4_001
    assert len(sink.records) == stats.delivered


def test_close_with_a_hung_sink_keeps_what_was_spilled(sink):
    """What is held at the close waits in a file for the next start, and is pending."""
    log = configure(sink, "spill")
    fill(log, 50)
    stats = hydra.close(0.5)
    sink.open()

    assert (0, True) == (stats.dropped, stats.held >= 50)
    kit.balanced(stats)


def test_spill_needs_a_place_to_hold():
    """Asked for at a destination that holds nothing it is an error, otherwise drop_new there."""
    with pytest.raises(ConfigurationError, match="needs a fallback of type file"):
        hydra.configure(destinations=[{"type": "console", "queue": {"when_full": "spill"}}])

    hydra.configure(
        destinations=[{"type": "console"}, {"type": "stderr", "queue": {"records": 7}}],
        queue={"when_full": "spill"},
    )
    queues = [service.queue for service in ENGINE.run.services.values()]

    assert [("drop_new", 0)] * 2 == [(queue.when_full, queue.spill_places) for queue in queues]
