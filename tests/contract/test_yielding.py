"""
An awaited call gives way: once per millisecond of logging, other tasks run.
"""

from __future__ import annotations

import asyncio
import time

import pytest
import trio
import uvloop

import hydra
from tests.contract.kit import Sink, configure

pytestmark = pytest.mark.integration

SECONDS = 0.2
"""Of processor time: a busy machine makes the test longer, not harder."""


async def heartbeat(beats, done, pause):
    """Note the time as often as the scheduler lets it."""
    while not done:
        beats.append(time.monotonic())
        await pause()


async def flood(log, done):
    """Await calls in a tight loop, with nothing else that could give way."""
    end = time.thread_time() + SECONDS
    calls = 0
    while time.thread_time() < end:
        await log.info("placed", n=calls)
        calls += 1
    done.append(True)
    return calls


async def on_asyncio(log):
    """Run both and return the beats and the calls."""
    beats, done = [], []
    beating = asyncio.ensure_future(heartbeat(beats, done, lambda: asyncio.sleep(0)))
    calls = await flood(log, done)
    await beating
    return beats, calls


async def on_trio(log):
    """The same."""
    beats, done, calls = [], [], 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heartbeat, beats, done, trio.lowlevel.checkpoint)
        calls = await flood(log, done)
    return beats, calls


def with_uvloop(main):
    """Run *main* on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


RUNS = {
    "asyncio": lambda log: asyncio.run(on_asyncio(log)),
    "uvloop": lambda log: with_uvloop(on_asyncio(log)),
    "trio": lambda log: trio.run(on_trio, log),
}


@pytest.mark.parametrize("style", RUNS)
@pytest.mark.parametrize("kind", ["shared", "tracked"])
def test_other_tasks_run_while_one_logs(style, kind):
    """A task that does nothing but log lets others run about once per millisecond."""
    configure(Sink())
    log = hydra.get_logger("shop")
    if kind == "tracked":
        log = log.tracked()
    beats, calls = RUNS[style](log)

    assert calls > len(beats) > SECONDS / 0.001 / 10


@pytest.mark.parametrize("style", RUNS)
def test_not_every_call_gives_way(style):
    """Giving way costs more than logging, so it is not done at every call."""
    # One that no loop fills in this time: a call that waits for room gives way, too.
    configure(Sink(), queue={"records": 1_000_000, "bytes": "1 GiB"})
    began = time.monotonic()
    beats, calls = RUNS[style](hydra.get_logger("shop"))
    took = time.monotonic() - began

    assert len(beats) < took / 0.001 * 2
    assert calls > 2 * len(beats)
