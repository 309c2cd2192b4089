"""
Parked calls: a full queue on a thread that runs an event loop.

Rule: awaiting waits for room, in order; letting go drops, which is counted; there
is a bound on how much may be parked.
"""

from __future__ import annotations

import asyncio
import gc

import pytest
import trio

import hydra
from hydra.engine import ENGINE, OwnReceipt
from hydra.queue._fifo import PARKED_BYTES, PARKED_LINES
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

SMALL = {"records": 16, "reserve": 4}


def on_asyncio(main, *args):
    """Run *main* on asyncio."""
    return asyncio.run(main(*args))


both_loops = pytest.mark.parametrize("run", [on_asyncio, trio.run], ids=["asyncio", "trio"])


@pytest.fixture(name="log")
def _log() -> hydra.Logger:
    return hydra.get_logger("shop")


@pytest.fixture(name="sink")
def _sink(log):
    sink = Sink()
    configure(sink, queue=SMALL)
    block_writer(sink, log)
    yield sink
    sink.open()


def fill(log):
    """Fill the queue of the blocked writer to its cap."""
    for n in range(16):
        assert log.info("fills the queue", n=n) is hydra.QUEUED


@both_loops
def test_awaiting_a_parked_call_waits_for_room(run, log, sink):
    """It resumes when the writer has taken the line in, and not before."""

    async def main():
        fill(log)
        receipt = log.info("parked")
        assert isinstance(receipt, OwnReceipt)
        assert receipt.durability is hydra.Durability.QUEUED
        stats = hydra.stats()
        assert (1, 18) == (stats.destinations["app"].parked, stats.pending)
        sink.open()
        assert await receipt is None
        return receipt

    receipt = run(main)
    stats = closed()

    assert "parked" == sink.messages[-1]
    assert receipt.id == sink.records[-1]["id"]
    assert {} == stats.drops
    proven(sink.lines)


@both_loops
def test_letting_go_of_a_parked_call(run, log, sink):
    """A parked call that nobody keeps is dropped at once, and the drop says why."""

    async def main():
        fill(log)
        for _ in range(5):
            log.info("let go")
        gc.collect()
        return hydra.stats()

    stats = run(main)
    sink.open()
    closed()

    assert {("info", "discarded"): 5} == stats.drops
    assert 0 == stats.destinations["app"].parked
    assert "let go" not in sink.messages
    proven(sink.lines)


@both_loops
def test_parked_calls_awaited_late(run, log, sink):
    """A kept receipt need not be awaited for its line to be taken in; it may be at any time."""

    async def main():
        fill(log)
        kept = [log.info("parked", n=n) for n in range(5)]
        sink.open()
        told = await kept[-1].delivered(PATIENCE)
        assert told.delivered
        for receipt in kept:
            await receipt
        return kept

    kept = run(main)
    quiet()

    assert [each.id for each in kept] == [each["id"] for each in sink.records[-5:]]


def test_task_cancelled_while_it_waits(log, sink):
    """A cancelled wait drops the line; the drop is counted as cancelled, once."""

    async def main():
        fill(log)
        receipt = log.info("parked")
        task = asyncio.create_task(receipt.coro())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        settlement = await receipt.delivered(0)
        assert {"app": "cancelled"} == settlement.dropped
        assert not settlement.delivered
        # Awaited again, it has nothing to wait for.
        await receipt

    asyncio.run(main())
    sink.open()
    stats = closed()

    assert {("info", "cancelled"): 1} == stats.drops
    assert "parked" not in sink.messages
    proven(sink.lines)


def test_scope_of_trio_cancelled_while_it_waits(log, sink):
    """The same under trio."""

    async def main():
        fill(log)
        with trio.CancelScope() as scope:
            scope.cancel()
            await log.info("parked")
        return scope.cancelled_caught

    assert trio.run(main)
    assert {("info", "cancelled"): 1} == hydra.stats().drops


def test_loop_that_ends_with_parked_calls(log, sink):
    """A loop may end before there is room; the lines its tasks leave behind are counted."""

    async def main():
        fill(log)
        task = asyncio.create_task(log.info("parked").coro())
        await asyncio.sleep(0)
        return task

    asyncio.run(main())
    sink.open()
    stats = closed()

    assert {("info", "cancelled"): 1} == stats.drops
    proven(sink.lines)


@both_loops
def test_order_is_kept(run, log, sink):
    """What is parked first enters first, and nothing that comes later overtakes it."""

    async def main():
        fill(log)
        kept = [log.info("placed", n=n) for n in range(40)]
        sink.open()
        await kept[0]
        for n in range(40, 60):
            await log.info("placed", n=n)
        await hydra.aflush(PATIENCE)

    run(main)
    stats = closed()

    assert list(range(60)) == [each["n"] for each in sink.records if each["message"] == "placed"]
    assert {} == stats.drops


def test_room_is_for_parked_lines_first(log, sink):
    """Between the writer's taking and its letting in, a later call does not slip in between."""

    async def main():
        fill(log)
        first = log.info("first")
        queue = ENGINE.run.services["app"].queue
        taken = queue.take(4)
        second = log.info("second")
        queue.put_back(taken)
        sink.open()
        await second
        return [first.id, second.id]

    ids = asyncio.run(main())
    quiet()

    assert ids == [each["id"] for each in sink.records[-2:]]


@both_loops
def test_awaiting_task_after_task(run, log, sink):
    """Tasks that all wait for room all get it."""

    async def one(n):
        await log.info("placed", n=n)

    async def asyncio_main():
        tasks = [asyncio.create_task(one(n)) for n in range(50)]
        await asyncio.sleep(0)
        sink.open()
        await asyncio.gather(*tasks)

    async def trio_main():
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(one, n)
            await trio.lowlevel.checkpoint()
            sink.open()

    run(trio_main if run is trio.run else asyncio_main)
    stats = closed()

    assert set(range(50)) == {each.get("n") for each in sink.records} - {None}
    assert 51 == stats.delivered


@both_loops
def test_hundred_thousand_calls_kept(run, log, sink):
    """The park is bounded: what is beyond is dropped at once, and every single one is counted."""

    async def main():
        fill(log)
        kept = [log.info("kept", n=n) for n in range(100_000)]
        stats = hydra.stats()
        assert PARKED_LINES == stats.destinations["app"].parked
        assert stats.balanced
        sink.open()
        await kept[PARKED_LINES - 1]
        return kept, stats

    kept, stats = run(main)
    final = closed()

    assert 100_000 - PARKED_LINES == kept.count(hydra.DROPPED)
    assert {("info", "park_full"): 100_000 - PARKED_LINES} == stats.drops == final.drops
    assert list(range(PARKED_LINES)) == [r["n"] for r in sink.records if r["message"] == "kept"]
    proven(sink.lines)


@both_loops
def test_large_lines_parked(run, log, sink):
    """The park is bounded in bytes, too."""

    async def main():
        fill(log)
        kept = [log.info("x" * 50_000) for _ in range(40)]
        parked = [each for each in kept if each is not hydra.DROPPED]
        sink.open()
        await parked[-1]
        return len(parked)

    parked = run(main)
    closed()

    assert PARKED_BYTES // 51_000 <= parked <= PARKED_BYTES // 50_000
    proven(sink.lines)


@both_loops
def test_letting_go_makes_room_in_the_park(run, log, sink):
    """Lines that were let go of take no place in the park."""

    async def main():
        fill(log)
        for _ in range(3 * PARKED_LINES):
            log.info("let go")
        return log.info("parked") is not hydra.DROPPED

    assert run(main)
    assert {("info", "discarded"): 3 * PARKED_LINES + 1} == hydra.stats().drops


@both_loops
def test_never_blocks_the_loop(run, log, sink):
    """On a loop the block timeout does not exist."""

    async def main():
        fill(log)
        for _ in range(100):
            log.info("let go")
        return hydra.stats().destinations["app"].blocked_seconds

    assert 0.0 == run(main)


def test_one_of_two_destinations_is_full(log):
    """A record parked for one destination is on its way to the other already."""
    slow, fast = Sink(), Sink()
    hydra.configure(
        level="trace",
        destinations=[destination(slow, "slow", queue=SMALL), destination(fast, "fast")],
    )
    block_writer(slow, log)

    async def main():
        for n in range(16):
            log.info("fills the queue", n=n)
        receipt = log.info("parked")
        while not fast.messages or fast.messages[-1] != "parked":
            await asyncio.sleep(0)
        assert not (await receipt.delivered(0)).settled
        log.info("let go")
        slow.open()
        await receipt

    asyncio.run(main())
    stats = closed()

    assert 1 == stats.destinations["slow"].dropped
    assert 0 == stats.destinations["fast"].dropped
    assert "parked" in slow.messages
    assert "let go" in fast.messages
    proven(slow.lines)
    proven(fast.lines)


@both_loops
def test_guaranteed_calls_use_the_reserve(run, log, sink):
    """An ERROR is not parked: it has the reserve, and the journal behind that."""

    async def main():
        fill(log)
        return [log.error("failed", n=n) for n in range(10)]

    receipts = run(main)

    assert {hydra.Durability.KERNEL} == {each.durability for each in receipts}
    sink.open()
    stats = closed()
    assert set(range(10)) == {r["n"] for r in sink.records if r["message"] == "failed"}
    assert {} == stats.drops


def test_close_with_parked_calls(log):
    """Closing takes in what is parked before it writes the close record."""
    sink = Sink()
    configure(sink, queue=SMALL)
    block_writer(sink, log)

    async def main():
        fill(log)
        # More than the queue takes at once.
        kept = [log.info("parked", n=n) for n in range(50)]
        sink.open()
        await hydra.aclose(PATIENCE)
        return kept

    kept = asyncio.run(main())
    stats = closed()

    assert 67 == stats.delivered
    assert "parked" == sink.messages[-1]
    assert b'"event":"close"' in sink.lines[-1]
    assert all(each.id for each in kept)
    proven(sink.lines)
