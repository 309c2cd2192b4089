"""
Parked lines: a full queue met on a thread that runs an event loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from functools import partial

import pytest
import trio

import hydra
from hydra.engine import ENGINE
from hydra.queue import State
from tests.contract import kit

pytestmark = pytest.mark.integration

RECORDS = 10
LOOPS = ("asyncio", "trio")


def run(kind, scenario):
    """Run the coroutine function *scenario* under *kind*."""
    return asyncio.run(scenario()) if kind == "asyncio" else trio.run(scenario)


async def gather(kind, works):
    """Run coroutine functions side by side to their ends."""
    if kind == "asyncio":
        await asyncio.gather(*(work() for work in works))
    else:
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)


async def turn(kind, times=3):
    """Let other tasks run."""
    give_way = trio.lowlevel.checkpoint if kind == "trio" else partial(asyncio.sleep, 0)
    for _ in range(times):
        await give_way()


@pytest.fixture
def full(sink):
    """Configure a queue of ten that is full, its writer hanging in the sink."""
    kit.configure(sink, queue={"records": RECORDS, "reserve": 5, "block_timeout": 20.0})
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    for _ in range(RECORDS):
        assert log.info("fill") is hydra.QUEUED
    return log


def parked():
    """Return how many lines are parked now."""
    return kit.balanced(hydra.stats()).destinations["app"].parked


def ours(sink):
    """Return what the sink has of the records that carry a number."""
    return [record["n"] for record in sink.records if "n" in record]


@pytest.mark.parametrize("kind", LOOPS)
def test_awaited_parked_lines_arrive_in_order(kind, full, sink):
    """Awaiting a parked line waits for room; lines keep the order of their calls."""
    done = []

    async def scenario():
        receipts = [full.info("n", n=n) for n in range(30)]
        assert parked() == 30
        assert {"Q"} == {receipt.durability.value for receipt in receipts}

        async def one(receipt):
            assert await receipt is None
            done.append(receipt)

        async def free():
            await turn(kind)
            assert done == []
            sink.open()

        await gather(kind, [*(lambda r=r: one(r) for r in reversed(receipts)), free])
        return [(await receipt.delivered(kit.PATIENCE)).delivered for receipt in receipts]

    assert [True] * 30 == run(kind, scenario)
    stats = kit.closed()
    assert list(range(30)) == ours(sink)
    assert (0, 41) == (stats.dropped, stats.delivered)
    kit.proven(sink.lines)


@pytest.mark.parametrize("kind", LOOPS)
def test_tight_loop_of_awaited_calls_on_a_slow_sink(kind):
    """A task that awaits each call goes at the pace of the sink and loses nothing."""
    lines = []
    done = []
    turns = threading.Semaphore(0)

    def slow(batch):
        assert turns.acquire(timeout=kit.PATIENCE)
        lines.extend(batch)

    kit.configure(slow, queue={"records": RECORDS, "reserve": 5})

    async def worker(name):
        log = hydra.get_logger("shop", who=name)
        for n in range(200):
            await log.info("n", n=n)
        done.append(name)

    async def pace():
        while len(done) < 3:
            await turn(kind, 20)
            turns.release()

    async def scenario():
        await gather(kind, [pace, *(lambda name=name: worker(name) for name in "abc")])

    run(kind, scenario)
    turns.release(1000)
    stats = kit.closed()

    assert (0, 600) == (stats.dropped, stats.delivered)
    records = [json.loads(line) for line in lines if b'"who"' in line]
    for name in "abc":
        assert list(range(200)) == [r["n"] for r in records if r["who"] == name]
    kit.proven(lines)


@pytest.mark.parametrize("kind", LOOPS)
def test_discarded_parked_lines_are_drops(kind, full, sink):
    """Letting go of a parked line drops it at once, with a count and a declaration."""

    async def scenario():
        for n in range(50):
            full.info("n", n=n)
        assert parked() == 0
        return hydra.stats()

    stats = run(kind, scenario)
    assert {("info", "discarded"): 50} == stats.drops
    sink.open()
    stats = kit.closed()

    assert [] == ours(sink)
    assert {("info", "discarded"): 50} == stats.drops
    kit.proven(sink.lines)


@pytest.mark.parametrize("kind", LOOPS)
def test_calls_nobody_awaits_leave_the_park_to_those_who_do(kind, full, sink):
    """Lines let go behind one that is awaited take no place in the park any more."""

    async def scenario():
        first = full.info("n", n=0)
        for _ in range(5_000):
            full.info("discarded")
        rest = [full.info("n", n=n) for n in range(1, 50)]
        count = parked()
        sink.open()
        for receipt in (first, *rest):
            await receipt
        return count

    assert run(kind, scenario) == 50
    stats = kit.closed()
    assert {("info", "discarded"): 5_000} == stats.drops
    assert list(range(50)) == ours(sink)
    kit.proven(sink.lines)


@pytest.mark.parametrize("kind", LOOPS)
def test_late_awaiting(kind, full, sink):
    """A parked line may be awaited long after it got in, on another loop, and more than once."""
    kept = []

    async def first():
        kept.append(full.info("n", n=1))

    async def second():
        await kept[0]
        await kept[0]
        return (await kept[0].delivered(kit.PATIENCE)).delivered

    run(kind, first)
    assert parked() == 1
    sink.open()
    kit.quiet()
    assert parked() == 0
    assert run("trio" if kind == "asyncio" else "asyncio", second)
    assert run(kind, second)
    assert [1] == ours(sink)


def test_parked_line_asked_from_a_thread(full, sink):
    """A thread may wait for a line that was parked on a loop."""

    async def scenario():
        return full.info("n", n=1)

    receipt = asyncio.run(scenario())

    assert State.PENDING is receipt.wait(0.01).fates["app"].state
    sink.open()
    assert receipt.wait(kit.PATIENCE).delivered


@pytest.mark.parametrize("kind", LOOPS)
def test_cancelled_parked_lines_are_drops(kind, full, sink):
    """A task that is cancelled while it waits for room drops its line, and only its own."""

    async def scenario():
        receipts = [full.info("n", n=n) for n in range(4)]
        if kind == "asyncio":
            tasks = [asyncio.create_task(receipt.coro()) for receipt in receipts]
            await turn(kind)
            tasks[0].cancel()
            tasks[2].cancel()
            found = await asyncio.gather(tasks[0], tasks[2], return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in found)
            await asyncio.wait([tasks[3]], timeout=0)
            sink.open()
            await asyncio.gather(tasks[1], tasks[3])
        else:
            for n in (0, 2):
                with trio.move_on_after(0.01) as scope:
                    await receipts[n]
                assert scope.cancelled_caught
            sink.open()
            await receipts[1]
            await receipts[3]
        # Awaiting again what was dropped waits for nothing.
        await receipts[0]
        return [receipt.wait(kit.PATIENCE) for receipt in receipts]

    settled = run(kind, scenario)
    stats = kit.closed()

    assert [False, True, False, True] == [found.delivered for found in settled]
    assert {"app": "cancelled"} == settled[0].dropped == settled[2].dropped
    assert {("info", "cancelled"): 2} == stats.drops
    assert [1, 3] == ours(sink)
    kit.proven(sink.lines)


def test_timeout_around_a_parked_call(full, sink):
    """`asyncio.timeout` ends the wait; `delivered` may be given up without losing the line."""

    async def scenario():
        patient = full.info("n", n=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await patient.delivered()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await full.info("n", n=2)
        return patient

    patient = asyncio.run(scenario())
    sink.open()

    assert patient.wait(kit.PATIENCE).delivered
    assert [1] == ours(sink)
    assert {("info", "cancelled"): 1} == kit.closed().drops


def test_park_is_bounded_in_lines(full, sink):
    """A task that keeps 100,000 receipts parks a thousand; the others are dropped and counted."""

    async def scenario():
        kept = [full.info("n", n=n) for n in range(100_000)]
        count, pending = parked(), hydra.stats().pending
        dropped = [receipt for receipt in kept if receipt is hydra.DROPPED or not receipt.id]
        sink.open()
        await kept[0]
        await kept[999]
        return count, pending, len(dropped)

    # Those refused have receipts as well, or are the constant: both say what became of them.
    count, pending, _ = asyncio.run(scenario())
    stats = kit.closed()

    assert (1_000, 1_000 + RECORDS + 1) == (count, pending)
    assert {("info", "park_full"): 99_000} == stats.drops
    assert list(range(1_000)) == ours(sink)
    kit.proven(sink.lines)


def test_park_is_bounded_in_bytes(sink):
    """A park holds a megabyte at most, however few lines that is."""
    kit.configure(sink, queue={"records": RECORDS, "reserve": 5, "bytes": "1 MiB"})
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)
    text = "x" * 60_000

    async def scenario():
        # The queue is full of bytes as well: a place stands for a tenth of a megabyte.
        for _ in range(RECORDS):
            assert log.info("fill") is hydra.QUEUED
        kept = [log.info("n", n=n, text=text) for n in range(40)]
        held = sum(len(p.entry.line) for p in ENGINE.run.services["app"].queue.parked)
        sink.open()
        await kept[0]
        return held, [receipt.wait(kit.PATIENCE) for receipt in kept]

    held, settled = asyncio.run(scenario())
    stats = kit.closed()

    assert 900_000 < held <= 1 << 20
    assert [True] * 17 + [False] * 23 == [found.delivered for found in settled]
    assert {("info", "park_full"): 23} == stats.drops
    assert list(range(17)) == ours(sink)


def test_threads_stay_behind_parked_lines(full, sink):
    """A thread without a loop does not overtake what is parked: it waits, and comes later."""
    started = threading.Event()

    def off_loop():
        started.set()
        assert hydra.get_logger("shop").info("n", n=100) is hydra.QUEUED

    thread = threading.Thread(target=off_loop)

    async def scenario():
        receipts = [full.info("n", n=n) for n in range(5)]
        thread.start()
        started.wait()
        sink.open()
        for receipt in receipts:
            await receipt

    asyncio.run(scenario())
    thread.join()
    stats = kit.closed()

    assert [0, 1, 2, 3, 4, 100] == ours(sink)
    assert stats.dropped == 0


def test_other_destination_takes_the_line_at_once(sink, other, monkeypatch):
    """A line that is parked for one destination is delivered to the other meanwhile."""
    hydra.configure(
        destinations=[
            kit.destination(sink, "slow", queue={"records": RECORDS, "reserve": 5}),
            kit.destination(other, "quick"),
        ]
    )
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)

    writer = ENGINE.run.services["quick"].writer
    tell = writer.tell

    async def scenario():
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def telling(entry, fate):
            tell(entry, fate)
            loop.call_soon_threadsafe(told.set)

        monkeypatch.setattr(writer, "tell", telling)
        for _ in range(RECORDS):
            log.info("fill")
        kept, let_go = log.info("n", n=1), log.info("n", n=2)
        await told.wait()
        assert State.DELIVERED is kept.wait(0).fates["quick"].state
        assert State.PENDING is kept.wait(0).fates["slow"].state
        del let_go
        sink.open()
        await kept
        return await kept.delivered(kit.PATIENCE)

    found = asyncio.run(scenario())
    stats = kit.closed()

    assert found.delivered
    assert ([1], [1, 2]) == (ours(sink), ours(other))
    assert {("info", "discarded"): 1} == stats.drops
    kit.proven(sink.lines)
    kit.proven(other.lines)


def test_reference_cycles_let_go_late(full, sink):
    """A parked receipt in a cycle is dropped when the collector finds it; nobody hangs."""

    async def scenario():
        class Holder:
            pass

        gc.disable()
        try:
            for n in range(10):
                holder = Holder()
                holder.me, holder.receipt = holder, full.info("n", n=n)
            del holder
            assert parked() == 10
        finally:
            gc.enable()
        gc.collect()
        return parked()

    assert asyncio.run(scenario()) == 0
    sink.open()
    assert {("info", "discarded"): 10} == kit.closed().drops


def test_close_with_parked_lines(full, sink):
    """Close brings parked lines to the sink like queued ones, if their receipts are kept."""

    async def scenario():
        return [full.info("n", n=n) for n in range(20)]

    kept = asyncio.run(scenario())
    sink.open()
    stats = kit.closed()

    assert (0, 0, 31) == (stats.dropped, stats.pending, stats.delivered)
    assert list(range(20)) == ours(sink)
    assert all(receipt.wait(0).delivered for receipt in kept)
    kit.proven(sink.lines)


def test_close_in_vain_drops_parked_lines(full, sink):
    """What close cannot bring anywhere is a counted drop, parked lines too; receipts say so."""

    async def scenario():
        return [full.info("n", n=n) for n in range(5)]

    kept = asyncio.run(scenario())
    stats = hydra.close(0.1)
    settled = [receipt.wait(5) for receipt in kept]
    sink.open()

    assert stats.pending == 0
    assert [{"app": "closed"}] * 5 == [found.dropped for found in settled]


def test_reconfigure_with_parked_lines(full, sink, other):
    """Parked lines of a configuration that was replaced go to its destination."""

    async def scenario():
        kept = [full.info("n", n=n) for n in range(20)]
        kit.configure(other)
        full.info("n", n=99)
        sink.open()
        for receipt in kept:
            await receipt

    asyncio.run(scenario())
    stats = kit.closed()

    assert (list(range(20)), [99]) == (ours(sink), ours(other))
    assert stats.dropped == 0


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_engine_itself_never_parks(kind):
    """A sink that logs into its own full queue is told DROPPED: nobody could make room for it."""
    answers = []
    lines = []

    def write(batch):
        lines.extend(batch)
        if not answers:
            answers.extend(hydra.info("from the sink") for _ in range(RECORDS + 5))

    async def awrite(batch):
        write(batch)

    kit.configure(write if kind == "thread" else awrite, queue={"records": RECORDS, "reserve": 5})
    began = time.monotonic()
    hydra.info("one")
    kit.quiet()
    stats = kit.closed()

    assert [hydra.QUEUED] * RECORDS + [hydra.DROPPED] * 5 == answers
    assert {("info", "queue_full"): 5} == stats.drops
    assert time.monotonic() - began < 10
    kit.proven(lines)
