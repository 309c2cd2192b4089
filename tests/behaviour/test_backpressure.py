"""
Full queues off an event loop: who waits, for how long, and what is refused.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import trio

import hydra
from hydra.engine import ENGINE
from hydra.queue import State
from tests.contract import kit

pytestmark = pytest.mark.integration

RECORDS = 20
TIMEOUT = 0.2


def configure(sink, **queue):
    """Configure a queue of twenty whose writer hangs in *sink*; return the logger."""
    kit.configure(sink, queue={"records": RECORDS, "reserve": 5, "block_timeout": TIMEOUT} | queue)
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    return log


def fill(log, count=RECORDS):
    """Log *count* records that all find room."""
    assert [hydra.QUEUED] * count == [log.info("fill") for _ in range(count)]


def timed(call):
    """Return what *call* answers, and the seconds that took."""
    began = time.monotonic()
    answer = call()
    return answer, time.monotonic() - began


def test_block_waits_one_full_timeout_and_then_refuses(sink):
    """The first caller waits a full timeout; the next ones none until low water is reached."""
    log = configure(sink)
    fill(log)

    first, waited = timed(lambda: log.info("first"))
    answers, refused = timed(lambda: [log.info("n") for _ in range(50)])

    assert [hydra.DROPPED] * 51 == [first, *answers]
    assert TIMEOUT <= waited < TIMEOUT + 1.0
    assert refused < TIMEOUT
    assert TIMEOUT <= hydra.stats().destinations["app"].blocked_seconds < TIMEOUT + 1.0
    sink.open()
    kit.quiet()
    assert hydra.QUEUED is log.info("room again")
    sink.shut()
    stats = kit_closed(sink)
    assert {("info", "queue_full"): 51} == stats.drops
    kit.proven(sink.lines)


def kit_closed(sink):
    """Open *sink* and close."""
    sink.open()
    return kit.closed()


def test_refusing_ends_at_low_water(sink):
    """After a timeout nothing is taken in until half the queue is free, then everything is."""
    kit.configure(
        sink,
        destinations=[kit.destination(sink, "app", batch=1)],
        queue={"records": RECORDS, "reserve": 5, "block_timeout": 0.01},
    )
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    fill(log)
    assert hydra.DROPPED is log.info("n")
    queue = ENGINE.run.services["app"].queue

    # By hand, so that the moment is known: nine gone leaves eleven, one more than low water.
    taken = queue.take(RECORDS // 2 - 1)
    queue.admit()
    still = log.info("above low water")
    taken += queue.take(1)
    queue.admit()
    again = [log.info("below low water") for _ in range(RECORDS // 2)]
    queue.put_back(taken)

    assert hydra.DROPPED is still
    assert [hydra.QUEUED] * (RECORDS // 2) == again
    assert kit_closed(sink).dropped == 2


def test_blocked_callers_go_on_when_there_is_room(sink):
    """Callers that wait get in as soon as the writer has made room; nothing is lost."""
    log = configure(sink, block_timeout=20.0)
    fill(log)
    answers = []

    def call(who):
        answers.extend(log.info("n", who=who, n=n) for n in range(30))

    threads = [threading.Thread(target=call, args=(who,)) for who in range(4)]
    for each in threads:
        each.start()
    sink.open()
    for each in threads:
        each.join()
    stats = kit.closed()

    assert [hydra.QUEUED] * 120 == answers
    assert stats.dropped == 0
    for who in range(4):
        assert list(range(30)) == [r["n"] for r in sink.records if r.get("who") == who]
    kit.proven(sink.lines)


def test_drop_new_never_waits(sink):
    """With `drop_new` a full queue costs the caller no time at all."""
    log = configure(sink, when_full="drop_new", block_timeout=30.0)
    fill(log)

    answers, took = timed(lambda: [log.info("n") for _ in range(100)])

    assert [hydra.DROPPED] * 100 == answers
    assert took < 5.0
    assert hydra.stats().destinations["app"].blocked_seconds == 0
    stats = kit_closed(sink)
    assert {("info", "queue_full"): 100} == stats.drops
    kit.proven(sink.lines)


def test_full_destination_leaves_the_others_alone(sink, other):
    """A record that one destination refuses reaches the other one; so do all later ones."""
    hydra.configure(
        queue={"records": RECORDS, "reserve": 5, "block_timeout": 0.01},
        destinations=[
            kit.destination(sink, "slow"),
            kit.destination(other, "quick", queue={"records": 1_000}),
        ],
    )
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    answers = [log.info("n", n=n) for n in range(200)]
    settled = log.tracked().info("n", n=200).wait(0.01)
    stats = kit_closed(sink)

    # Somebody has it, so it is not DROPPED; the ledger says who has not.
    assert {hydra.QUEUED} == set(answers)
    assert State.DROPPED is settled.fates["slow"].state
    assert list(range(201)) == [r["n"] for r in other.records if "n" in r]
    assert list(range(RECORDS)) == [r["n"] for r in sink.records if "n" in r]
    assert {("info", "queue_full"): 201 - RECORDS} == stats.drops
    assert (0, 201 - RECORDS) == tuple(stats.destinations[d].dropped for d in ("quick", "slow"))
    kit.proven(sink.lines)
    kit.proven(other.lines)


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_loop_is_never_blocked(kind, sink):
    """On a thread that runs a loop no call waits, of whatever level, awaited or not."""
    log = configure(sink, block_timeout=30.0)
    fill(log)
    longest = 0.0

    async def scenario():
        nonlocal longest
        for call in (log.info, log.error, log.critical, log.tracked().info) * 10:
            _, took = timed(lambda c=call: c("n"))
            longest = max(longest, took)

    run = asyncio.run if kind == "asyncio" else trio.run
    run(scenario()) if kind == "asyncio" else run(scenario)

    assert longest < 2.0
    stats = kit_closed(sink)
    assert {("info", "discarded"): 20} == stats.drops
    assert 1 + RECORDS + 20 == stats.delivered


def test_thread_beside_a_loop_still_blocks(sink):
    """A worker thread may wait while another thread runs a loop."""
    log = configure(sink)
    fill(log)

    async def scenario():
        return await asyncio.get_running_loop().run_in_executor(None, timed, lambda: log.info("n"))

    answer, waited = asyncio.run(scenario())

    assert (hydra.DROPPED, True) == (answer, waited >= TIMEOUT)
    kit_closed(sink)


def test_reserve_is_for_errors_only(sink):
    """Behind a queue full of ordinary records there is room for ERROR and above."""
    log = configure(sink, when_full="drop_new")
    fill(log)

    receipts = [log.error("e", n=n) for n in range(5)]
    refused = log.warning("w")
    settled = [receipt.wait(0) for receipt in receipts]
    queue = ENGINE.run.services["app"].queue
    in_queue, in_journal = queue.depth, len(queue.overflow)
    stats = kit_closed(sink)

    assert (RECORDS + 5, 0) == (in_queue, in_journal)
    assert refused is hydra.DROPPED
    assert all(found.fates["app"].state is State.PENDING for found in settled)
    assert list(range(5)) == [r["n"] for r in sink.records if "n" in r]
    assert {("warning", "queue_full"): 1} == stats.drops


def test_errors_beyond_the_reserve_come_back_from_the_journal(sink, call_style):
    """When the reserve is used up an ERROR stays in the journal, and is delivered in the end."""
    log = configure(sink, block_timeout=20.0)
    fill(log)

    async def scenario(call):
        return [await call(log.error("e", n=n, text="x" * 1_000)) for n in range(200)]

    receipts, took = timed(lambda: call_style.run(scenario))
    queue = ENGINE.run.services["app"].queue
    overflow, stats = len(queue.overflow), kit.balanced(hydra.stats())
    sink.open()
    settled = [receipt.wait(kit.PATIENCE) for receipt in receipts]
    closed = kit.closed()

    assert overflow == 195
    # Their lines are in the journal only: they take no memory.
    assert 1 + RECORDS + 200 == stats.pending
    assert took < 5.0
    assert all(receipt.durability.value in "KDS" for receipt in receipts)
    assert all(found.delivered for found in settled)
    assert (0, 0) == (closed.dropped, closed.pending)
    assert list(range(200)) == sorted(r["n"] for r in sink.records if "n" in r)
    kit.proven(sink.lines)


def test_errors_of_one_thread_keep_their_order(sink):
    """Those that waited in the journal come in the order of their calls."""
    log = configure(sink)
    fill(log)
    for n in range(100):
        log.error("e", n=n)
    sink.open()
    kit.quiet()

    assert list(range(100)) == [r["n"] for r in sink.records if "n" in r]
    kit.closed()


def test_error_without_a_journal_may_be_dropped(sink):
    """With no journal and the reserve used up, an ERROR waits the timeout and is counted."""
    kit.configure(
        sink,
        journal={"enabled": False},
        queue={"records": 10, "reserve": 1, "block_timeout": 0.05},
    )
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    fill(log, 10)
    receipts, took = timed(lambda: [log.error("e") for _ in range(20)])
    found = [receipt.wait(0) for receipt in receipts]
    stats = kit_closed(sink)

    assert took < 3.0
    assert 19 == sum(each.dropped == {"app": "queue_full"} for each in found)
    assert {("error", "queue_full"): 19} == stats.drops
    kit.proven(sink.lines)


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_error_without_a_journal_on_a_loop_is_parked(kind, sink):
    """On a loop, with no journal and no reserve left, an ERROR can still wait for room."""
    kit.configure(
        sink, journal={"enabled": False}, queue={"records": 10, "reserve": 1, "block_timeout": 9}
    )
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    fill(log, 10)

    async def scenario():
        receipts = [log.error("e", n=n) for n in range(5)]
        sink.open()
        for receipt in receipts:
            await receipt
        return [await receipt.delivered(kit.PATIENCE) for receipt in receipts]

    settled = asyncio.run(scenario()) if kind == "asyncio" else trio.run(scenario)
    stats = kit.closed()

    assert [True] * 5 == [found.delivered for found in settled]
    assert stats.dropped == 0
    assert list(range(5)) == [r["n"] for r in sink.records if "n" in r]


def test_queue_is_bounded_in_bytes(sink):
    """Long lines fill the queue by their bytes, and the bound is never passed by much."""
    size = 1 << 20
    log = configure(sink, records=1_000, bytes=size, when_full="drop_new")
    text = "x" * 10_000
    answers = [log.info("n", text=text) for _ in range(200)]
    found = hydra.stats().destinations["app"]
    stats = kit_closed(sink)

    taken = answers.count(hydra.QUEUED)
    assert size * 0.9 < found.queued_bytes <= size + 64_000
    assert taken == found.queued
    assert {("info", "queue_full"): 200 - taken} == stats.drops
    kit.proven(sink.lines)


def test_longest_records_find_a_way(sink):
    """Records of the largest size pass the smallest queue there is, one after the other."""
    kit.configure(sink, queue={"records": 10, "bytes": "64 KiB", "reserve": 1})
    text = "x" * 80_000
    answers = [hydra.info("n", n=n, text=text) for n in range(30)]
    stats = kit.closed()

    assert {hydra.QUEUED} == set(answers)
    assert (30, 0) == (stats.delivered, stats.dropped)


def test_closed_door_opens_after_an_outage(sink):
    """After hours of refusing, the first call once there is room is taken in without waiting."""
    log = configure(sink)
    fill(log)
    log.info("waits in vain")
    for _ in range(3):
        log.info("refused")
    sink.open()
    kit.quiet()

    answer, took = timed(lambda: log.info("n"))

    assert (hydra.QUEUED, True) == (answer, took < TIMEOUT)
    assert ENGINE.run.services["app"].queue.limit == RECORDS
    kit.closed()
