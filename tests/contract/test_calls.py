"""
One call, wherever it is made: with a loop, without one, in a handler, in a sink.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import warnings

import pytest
import trio

import hydra
from tests._frontier import STYLES
from tests.contract.kit import PATIENCE, Sink, closed, configure, proven, quiet
from tests.faults.programs import World
from tests.sinks._kit import until

pytestmark = pytest.mark.integration


@pytest.fixture(name="sink")
def _sink() -> Sink:
    sink = Sink()
    configure(sink)
    return sink


@pytest.fixture(name="log")
def _log(sink) -> hydra.Logger:
    return hydra.get_logger("shop")


def test_same_result_in_every_style(call_style, sink, log):
    """A call that is left alone and one that is awaited, on either framework, do the same."""

    async def scenario(call):
        assert await call(log.info("placed", n=1)) is hydra.QUEUED
        assert await call(log.debug("detail", n=2)) is hydra.QUEUED
        failed = await call(log.error("failed", n=3))
        tracked = await call(log.tracked().info("watched", n=4))
        return [failed.id, tracked.id]

    ids = call_style.run(scenario)
    stats = quiet()

    assert ["placed", "detail", "failed", "watched"] == sink.messages
    assert ids == [each["id"] for each in sink.records[2:]]
    assert 4 == stats.accepted == stats.delivered


@pytest.mark.parametrize("run", [lambda main: asyncio.run(main()), trio.run], ids=STYLES[1:])
def test_awaiting_gives_none(run, log):
    """The value of an awaited call is None, whatever its receipt can tell."""

    async def scenario():
        return [
            await log.info("placed"),
            await log.error("failed"),
            await log.tracked().info("watched"),
            await log.critical("down"),
            await hydra.FILTERED,
            await hydra.SAMPLED,
            await hydra.DROPPED,
        ]

    assert [None] * 7 == run(scenario)


def test_call_left_alone_on_a_loop_warns_of_nothing(call_style, sink, log):
    """A receipt is no coroutine: nobody ever reads "was never awaited"."""

    async def scenario(call):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for level in ("trace", "info", "error", "critical"):
                log.log(level, "left alone")
            log.tracked().info("left alone")
            gc.collect()
        return caught

    assert [] == call_style.run(scenario)
    assert 5 == quiet().delivered
    assert not asyncio.iscoroutine(log.error("left alone"))


def test_call_left_alone_at_the_end_of_the_interpreter(tmp_path):
    """Under -W error a script and a service that await nothing end silently, everything kept."""
    world = World(tmp_path)
    ended = world.run("""
        import asyncio
        keep = [log.error("kept to the end"), log.tracked().info("kept to the end")]
        async def main():
            log.info("on a loop"); log.error("on a loop")
            keep.append(log.critical("kept to the end"))
        asyncio.run(main())
    """)

    assert (0, "", "") == (ended.status, ended.stdout, ended.stderr)
    assert 5 == len(world.messages())


def test_call_after_the_loop_is_closed(sink, log):
    """A loop that was closed, but is still set, is none of our business."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    log.info("without a loop")
    log.error("without a loop")
    asyncio.set_event_loop(None)

    assert 2 == quiet().delivered


def test_receipt_awaited_in_another_loop_than_its_call(sink, log):
    """A receipt belongs to no loop."""

    async def make():
        return [log.info("placed"), log.error("failed"), log.tracked().info("watched")]

    async def use(receipts):
        for receipt in receipts:
            await receipt
        return [await receipt.delivered(PATIENCE) for receipt in receipts]

    receipts = asyncio.run(make())

    assert all(each.delivered for each in asyncio.run(use(receipts)))
    assert all(each.delivered for each in trio.run(use, receipts))


def test_two_loops_in_two_threads(sink, log):
    """Loops in threads log side by side, each record once and each thread's in its order."""

    def work(name):
        async def main():
            for n in range(300):
                await log.info("placed", thread=name, n=n)

        (asyncio.run if name == "asyncio" else trio.run)(main() if name == "asyncio" else main)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("asyncio", "trio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    quiet()

    for name in ("asyncio", "trio"):
        assert list(range(300)) == [r["n"] for r in sink.records if r["thread"] == name]


def test_asyncio_run_twice(log, sink):
    """A second loop in the same process finds everything as the first one did."""

    async def main(n):
        await log.info("placed", n=n)
        await log.error("failed", n=n)
        return await hydra.aflush(PATIENCE)

    for n in range(2):
        assert 0 == asyncio.run(main(n)).pending

    assert [0, 0, 1, 1] == [each["n"] for each in sink.records]


def test_call_in_a_signal_handler(sink, log):
    """A handler that interrupts logging at 50 Hz logs, too; nobody waits and nothing is lost."""
    calls = {"handler": 0, "main": 0}

    def handle(number, frame):
        log.info("in the handler")
        log.error("in the handler")
        calls["handler"] += 1

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.02)
    try:
        while calls["handler"] < 25:
            log.info("in the middle")
            log.error("in the middle")
            calls["main"] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stats = closed()

    assert 2 * (calls["handler"] + calls["main"]) == stats.delivered
    assert 2 * calls["handler"] == sink.messages.count("in the handler")
    proven(sink.lines)


def test_call_in_a_finaliser(sink, log):
    """With the collector running all the time, finalisers log in the middle of logging."""
    gone = []

    class Chatty:
        def __init__(self):
            self.me = self

        def __del__(self):
            log.info("finalised")
            log.error("finalised")
            gone.append(None)

    def all_gone():
        # A collection does nothing while another thread is in the middle of one.
        gc.collect()
        return len(gone) == 200

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for n in range(200):
            Chatty()
            log.info("in the middle", n=n, more=[n])
            log.error("in the middle", n=n, more={"n": n})
    finally:
        gc.set_threshold(*before)
    until(all_gone, "the collector has found every object")
    closed()

    assert 400 == sink.messages.count("finalised")
    assert 400 == sink.messages.count("in the middle")
    proven(sink.lines)


def test_call_in_a_sync_sink():
    """A sink that logs about its own failure is no loop and no deadlock: one record per write."""
    log = hydra.get_logger("sink")
    taken = []

    def sink(lines):
        taken.extend(lines)
        if any(b'"placed"' in line for line in lines):
            log.info("inside")
            log.error("inside")

    configure(sink, queue={"records": 16})
    hydra.get_logger("shop").info("placed")
    closed()

    assert 2 == sum(b'"inside"' in line for line in taken)


def test_call_in_an_async_sink():
    """The same for a sink on the engine's loop, which the call must not block or park on."""
    log = hydra.get_logger("sink")
    taken = []

    async def sink(lines):
        taken.extend(lines)
        if any(b'"placed"' in line for line in lines):
            await log.info("inside")
            await log.error("inside")
            await log.critical("inside")

    configure(sink)
    hydra.get_logger("shop").info("placed")
    closed()

    assert 3 == sum(b'"inside"' in line for line in taken)


def test_sink_that_logs_into_its_own_full_queue():
    """A writer never waits for itself: what does not fit is dropped and counted."""
    log = hydra.get_logger("sink")
    taken = []

    def sink(lines):
        taken.extend(lines)
        if any(b'"placed"' in line for line in lines):
            for _ in range(50):
                log.info("inside")

    configure(sink, queue={"records": 16, "block_timeout": 30.0})
    hydra.get_logger("shop").info("placed")
    stats = closed()

    assert {("info", "queue_full"): 50 - 16} == stats.drops


def test_call_in_a_processor():
    """What a processor logs is written, and not processed again."""
    sink = Sink()
    log = hydra.get_logger("processor")
    seen = []

    def chatty(logger, method, event):
        seen.append(event["event"])
        log.warning("inside")
        return event

    configure(sink, processors=[chatty])
    hydra.get_logger("shop").info("placed")
    quiet()

    assert ["placed"] == seen
    assert ["inside", "placed"] == sink.messages


def test_call_after_close(call_style, tmp_path):
    """After close() a call writes by itself, and no thread is started."""
    path = tmp_path / "app.log"
    hydra.configure(
        level="trace", destinations=[{"name": "app", "type": "file", "path": str(path)}]
    )
    log = hydra.get_logger("shop")
    log.info("before")
    hydra.close()
    threads = threading.active_count()

    async def scenario(call):
        await call(log.info("after", n=1))
        await call(log.error("after", n=2))
        await call(log.tracked().info("after", n=3))
        await call(log.critical("after", n=4))
        return path.read_text()

    text = call_style.run(scenario)

    assert [1, 2, 3, 4] == [n for n in range(1, 5) if f'"after","n":{n},' in text]
    assert threads == threading.active_count()
    assert 5 == hydra.stats().delivered


def test_closing_twice(tmp_path):
    """Closing is idempotent: the second close adds nothing to the file, and says the same."""
    path = tmp_path / "app.log"
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
    hydra.info("before")
    first = closed()
    text = path.read_text()
    second = closed()

    assert text == path.read_text()
    assert (first.accepted, first.delivered) == (second.accepted, second.delivered)


def test_configure_after_close(tmp_path):
    """A configuration after close() brings everything back."""
    one, two = Sink(), Sink()
    configure(one)
    log = hydra.get_logger("shop")
    log.info("first")
    closed()
    configure(two)
    log.info("second")
    quiet()

    assert ["first"] == one.messages
    assert ["second"] == two.messages
