"""
Awaiting a call, leaving it alone, and calling from the oddest places.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

import hydra
from fallbacks.clock import SystemClock
from hydra.engine import _waiting
from tests.contract import kit

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
RUNNERS = ("asyncio", "uvloop", "trio")


def run_on(kind, scenario):
    """Run the coroutine function *scenario* on a loop of *kind*."""
    if kind == "trio":
        return trio.run(scenario)
    if kind == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(scenario())
    return asyncio.run(scenario())


async def beside(kind, main, beat):
    """Run *main*, and *beat* in a second task for as long as that takes."""
    if kind == "trio":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat)
            await main()
            nursery.cancel_scope.cancel()
    else:
        task = asyncio.create_task(beat())
        await asyncio.sleep(0)
        await main()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def python(source, *options):
    """Run *source* with warnings as errors; return what it did."""
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", source],
        env={
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYDRA_STATE_DIR": os.environ["HYDRA_STATE_DIR"],
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("kind", RUNNERS)
@pytest.mark.parametrize("level", ["trace", "info", "error", "critical"])
def test_awaiting_gives_none(kind, level, sink):
    """Whatever kind of receipt it is, and however often it is awaited, the result is None."""
    kit.configure(sink, level="debug")
    log = hydra.get_logger("shop")
    tracked = log.tracked()

    async def scenario():
        receipt = log.log(level, "one")
        return [await receipt, await receipt, await receipt.coro(), await tracked.log(level, "two")]

    assert [None] * 4 == run_on(kind, scenario)
    assert kit.closed().accepted == (0 if level == "trace" else 2)


def test_calls_nobody_awaits_never_warn():
    """A call that is left alone warns of nothing: in a script, on a loop, at exit."""
    source = """
import asyncio, atexit, gc, hydra
atexit.register(lambda: hydra.error("from atexit, registered first"))
hydra.info("plain"); hydra.error("plain"); hydra.critical("plain")
hydra.get_logger("x").tracked().info("tracked")
async def main():
    hydra.info("on a loop"); hydra.error("on a loop"); hydra.critical("on a loop")
    kept.append(hydra.get_logger("x").tracked().info("tracked"))
    coroutine_function = hydra.info("unused").coro
kept = []
asyncio.run(main())
gc.collect()
class Late:
    def __del__(self):
        hydra.info("at interpreter exit"); hydra.error("at interpreter exit")
late = Late()
kept.append(hydra.error("never asked"))
"""
    done = python(source, "-X", "dev")

    errors = [line for line in done.stderr.splitlines() if not line.startswith(b'{"timestamp"')]
    assert (0, [], b"") == (done.returncode, errors, done.stdout)
    assert b"from atexit, registered first" in done.stderr


def test_parked_calls_nobody_awaits_never_warn():
    """A line parked in front of a full queue is let go without a warning, also at exit."""
    source = """
import asyncio, threading, hydra
free = threading.Event()
hydra.configure(app="t", exit_timeout=0.2, queue={"records": 10, "reserve": 1},
                destinations=[hydra.Destination(lambda _: free.wait(20), name="s", fallback=[])])
kept = []
async def main():
    for n in range(200):
        hydra.info("n")
        kept.append(hydra.info("kept"))
    assert hydra.stats().destinations["s"].parked
asyncio.run(main())
free.set()
"""
    done = python(source, "-X", "dev")

    assert (0, b"", b"") == (done.returncode, done.stderr, done.stdout)


def test_receipt_is_no_coroutine(sink):
    """A receipt is awaitable and not a coroutine; its `coro()` is one, for create_task."""
    kit.configure(sink)

    async def scenario():
        for receipt in (hydra.info("a"), hydra.error("b"), hydra.trace("c") and hydra.FILTERED):
            assert not asyncio.iscoroutine(receipt)
            with pytest.raises(TypeError):
                await asyncio.create_task(receipt)
            assert await asyncio.create_task(receipt.coro()) is None
        return await asyncio.gather(*(hydra.info("n").coro() for _ in range(50)))

    assert [None] * 50 == asyncio.run(scenario())
    await_by_hand(hydra.info("no loop"))


def await_by_hand(receipt):
    """Drive *receipt* without any loop, as a framework of its own would."""
    iterator = receipt.__await__()
    for yielded in iterator:
        assert yielded is None


def test_many_loops_one_after_the_other(sink):
    """Loops may come and go, of either kind, and a receipt may outlive the loop of its call."""
    kit.configure(sink)
    log = hydra.get_logger("shop").tracked()

    async def scenario():
        await log.info("early")
        return log.error("kept")

    kept = [asyncio.run(scenario()), asyncio.run(scenario()), trio.run(scenario)]
    kept += [run_on("uvloop", scenario), asyncio.run(scenario())]

    async def later():
        return [(await receipt.delivered(kit.PATIENCE)).delivered for receipt in kept]

    assert [True] * 5 == trio.run(later)
    assert [True] * 5 == asyncio.run(later())
    assert ["early", "kept"] * 5 == sink.messages


def test_closed_loop_is_nobodys_business(sink):
    """A call after its thread's loop was closed is a plain call."""
    kit.configure(sink)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(hydra.info("on it").coro())
        loop.close()

        assert hydra.QUEUED is hydra.info("after it")
        assert hydra.error("after it").wait(kit.PATIENCE).delivered
    finally:
        asyncio.set_event_loop(None)


def test_waiter_whose_loop_is_gone(sink):
    """A loop that closes while one of its tasks waits for a delivery harms nobody."""
    kit.configure(sink)
    log = hydra.get_logger("shop")
    kit.block_writer(sink, log)

    async def scenario():
        task = asyncio.create_task(log.error("slow").delivered())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())

    async def by_trio():
        with trio.move_on_after(0.01):
            await log.error("slow").delivered()

    trio.run(by_trio)
    sink.open()

    assert kit.closed().delivered == 3


def test_two_loops_in_two_threads(sink):
    """Loops in several threads share the engine; each thread's records keep their order."""
    kit.configure(sink)
    log = hydra.get_logger("shop")

    async def scenario(name):
        for n in range(500):
            await log.info("n", who=name, n=n)
        return await log.error("end", who=name, n=500).delivered(kit.PATIENCE)

    results = {}

    def thread(name, run):
        results[name] = run(functools.partial(scenario, name))

    threads = [
        threading.Thread(target=thread, args=("a", lambda f: asyncio.run(f()))),
        threading.Thread(target=thread, args=("b", lambda f: asyncio.run(f()))),
        threading.Thread(target=thread, args=("t", trio.run)),
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert all(results[name].delivered for name in "abt")
    for name in "abt":
        assert list(range(501)) == [r["n"] for r in sink.records if r["who"] == name]
    kit.closed()


@pytest.mark.parametrize("kind", RUNNERS)
@pytest.mark.parametrize("receipts", ["shared", "own", "guaranteed"])
def test_awaited_calls_give_way_each_millisecond(kind, receipts, sink, monkeypatch):
    """A task that awaits its calls in a tight loop lets others run once per millisecond."""
    now = iter(range(10**9))
    # Four calls take a little more than a millisecond, however busy the machine is.
    monkeypatch.setattr(_waiting, "monotonic", lambda: 1000 + next(now) * 0.0003)
    if receipts == "shared":
        monkeypatch.setattr(SystemClock, "time_ns", lambda _: 10**18 + next(now) * 300_000)
    kit.configure(sink)
    log = hydra.get_logger("shop")
    if receipts == "own":
        log = log.tracked()
    call = log.error if receipts == "guaranteed" else log.info
    beats = 0
    give_way = trio.lowlevel.checkpoint if kind == "trio" else functools.partial(asyncio.sleep, 0)

    async def beat():
        nonlocal beats
        while True:
            beats += 1
            await give_way()

    async def main():
        nonlocal beats
        beats = 0
        for _ in range(400):
            await call("n")

    run_on(kind, lambda: beside(kind, main, beat))

    # Within a millisecond other tasks are not given way to: that would cost more than the call.
    assert 95 <= beats <= 125


def test_awaited_calls_give_way_in_real_time(sink):
    """Without a fake clock either, a tight loop of awaited calls does not starve other tasks."""
    kit.configure(sink)
    beats = []

    async def beat():
        while True:
            beats.append(None)
            await asyncio.sleep(0)

    async def main():
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.1
        while loop.time() < end:
            await hydra.info("n")

    asyncio.run(beside("asyncio", main, beat))

    # A hundred on an idle machine; the task may be kept from the processor for a while.
    assert len(beats) > 10


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_calls_inside_a_sink(kind, call_style):
    """A sink may log: the record is queued behind the others and nothing deadlocks."""
    lines = []
    said = []

    def write(batch):
        lines.extend(batch)
        if len(said) < 5:
            said.append(hydra.info("from the sink"))
            said.append(hydra.error("also from the sink"))

    async def awrite(batch):
        await asyncio.sleep(0)
        write(batch)
        await said[-1]

    kit.configure(write if kind == "sync" else awrite)

    async def scenario(call):
        for n in range(20):
            await call(hydra.info("n", n=n))

    call_style.run(scenario)
    # What the sink says during a flush stands behind its barrier; it says something five times.
    for _ in range(6):
        stats = kit.quiet()

    assert 20 + len(said) == stats.delivered
    assert len(said) == sum(b"from the sink" in line for line in lines)


def test_flush_and_close_inside_a_sink():
    """A sink that flushes or closes waits in vain for itself, for its timeout only."""
    lines = []

    def write(batch):
        lines.extend(batch)
        if len(lines) == 1:
            hydra.flush(0.05)
            hydra.error("said").wait(0.05)

    kit.configure(write)
    hydra.info("one")

    assert kit.quiet().delivered == 2


def test_calls_inside_a_processor(sink, call_style):
    """A record logged by a processor is not processed again, and no call is lost."""
    seen = []

    def chatty(log, method, event):
        seen.append(event["event"])
        log.info("from the processor")
        hydra.error("also from it")
        return event

    kit.configure(sink, processors=[chatty])

    async def scenario(call):
        for n in range(5):
            await call(hydra.info("n", n=n))

    call_style.run(scenario)

    assert kit.quiet().delivered == 15
    assert ["n"] * 5 == seen
    assert ["from the processor", "also from it", "n"] * 5 == sink.messages


def test_calls_inside_finalisers(sink, call_style):
    """Objects that log in `__del__`, at any moment of another call, leave no gap."""
    kit.configure(sink)
    log = hydra.get_logger("shop")
    died = 0

    class Loud:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            nonlocal died
            died += 1
            log.info("died")
            if died % 10 == 0:
                log.error("died")

    async def scenario(call):
        for n in range(300):
            Loud()
            await call(log.info("n", n=n, text=[{"a": n}]))
            if n % 10 == 0:
                await call(log.error("n", n=n))

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        call_style.run(scenario)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    stats = kit.closed()

    assert 300 == died
    assert 300 + 30 + 300 + 30 == stats.delivered
    assert 660 + 1 == sum(kit.proven(sink.lines).values())
    assert list(range(300)) == [r["n"] for r in sink.records if r["level"] == "info" and "n" in r]


def test_calls_inside_a_signal_handler(sink, call_style):
    """A handler that logs fifty times a second, while the main thread logs, loses nothing."""
    # On a busy machine the writer may get no time for as long as this lasts.
    kit.configure(sink, queue={"records": 1_000_000, "bytes": "1 GiB"})
    log = hydra.get_logger("shop")
    ticks = 0

    def tick(number, frame):
        nonlocal ticks
        ticks += 1
        log.info("tick")
        log.error("tick")

    sent = 0

    async def scenario(call):
        nonlocal sent
        while ticks < 15:
            for _ in range(50):
                await call(log.info("n", n=sent))
                sent += 1
            await call(log.error("n"))

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        call_style.run(scenario)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stats = kit.closed()

    assert sent + sent // 50 + 2 * ticks == stats.delivered + stats.dropped
    assert stats.dropped == 0
    kit.proven(sink.lines)
    assert list(range(sent)) == [r["n"] for r in sink.records if "n" in r]


def test_calls_after_close(sink, call_style):
    """After close a call is complete when it returns, and awaiting it still gives None."""
    kit.configure(sink)
    hydra.info("before")
    kit.closed()

    async def scenario(call):
        for n in range(5):
            receipt = await call(hydra.info("after", n=n))
            assert receipt is hydra.QUEUED
        return await call(hydra.error("after", n=5))

    receipt = call_style.run(scenario)

    await_by_hand(receipt)
    # A foreign function is not called on the caller's thread, and this sink has no fallback.
    assert {"app": "closed"} == receipt.wait(1).dropped
    assert (1, 6, 0) == settled_counts(kit.balanced(hydra.stats()))


def settled_counts(stats):
    """Return what *stats* counts as delivered, dropped and pending."""
    return stats.delivered, stats.dropped, stats.pending
