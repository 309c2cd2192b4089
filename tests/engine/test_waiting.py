"""
Waiting for a sign from another thread, on a thread and in both frameworks.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types

import pytest
import trio

from hydra.engine import _waiting
from hydra.engine._waiting import (
    Ready,
    forget_threads,
    gave_way,
    let_way,
    running_loop,
    wait,
    wait_async,
)

pytestmark = pytest.mark.unit

RUNS = {"asyncio": lambda main: asyncio.run(main()), "trio": trio.run}


def test_told_before_waiting():
    """A sign that comes at once is not missed."""
    assert wait(lambda wake: wake(), None)


def test_told_twice():
    """A second sign is harmless."""
    assert wait(lambda wake: (wake(), wake()), None)


def test_told_by_a_thread():
    """The sign may come from any thread."""
    assert wait(lambda wake: threading.Thread(target=wake).start(), 20)


@pytest.mark.parametrize("seconds", [0, 0.001, -1])
def test_never_told(seconds):
    """Without a sign the time runs out; none at all, or less, is no wait."""
    assert not wait(lambda wake: None, seconds)


@pytest.mark.parametrize("run", RUNS)
def test_told_in_a_task(run):
    """A task is woken from another thread, while its loop runs on."""

    async def main():
        return [
            await wait_async(lambda wake: wake(), None),
            await wait_async(lambda wake: (wake(), wake()), 20),
            await wait_async(lambda wake: threading.Thread(target=wake).start(), 20),
            await wait_async(lambda wake: None, 0.001),
            await wait_async(lambda wake: None, -1),
        ]

    assert [True, True, True, False, False] == RUNS[run](main)


@pytest.mark.parametrize("run", RUNS)
def test_told_after_the_loop_has_ended(run):
    """A sign for a waiter that is gone is nobody's error."""
    wakes = []

    async def main():
        return await wait_async(wakes.append, 0.001)

    assert not RUNS[run](main)
    wakes[0]()


@pytest.mark.parametrize("run", RUNS)
def test_running_loop(run):
    """Each framework is recognised, on its own thread and nowhere else."""

    async def main():
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(running_loop()))
        thread.start()
        thread.join()
        return running_loop(), elsewhere[0]

    assert running_loop() is None
    assert (run, None) == RUNS[run](main)
    assert running_loop() is None


@pytest.mark.parametrize("run", RUNS)
def test_giving_way_once_per_millisecond(run, monkeypatch):
    """It yields when a millisecond has passed on this thread since it last did."""
    now = [100.0]
    monkeypatch.setattr(_waiting, "monotonic", lambda: now[0])
    forget_threads()

    class Wait:
        def __await__(self):
            return gave_way()

    async def main():
        given = []
        for step in (0.0, 0.0005, 0.0004, 0.0002, 0.0):
            now[0] += step
            way = gave_way()
            given.append(way is not _waiting._DONE)
            if given[-1]:
                now[0] -= 1
                await Wait()
                now[0] += 1
        return given

    assert [True, False, False, True, False] == RUNS[run](main)
    forget_threads()


@pytest.mark.parametrize("run", RUNS)
def test_giving_way_when_the_clock_strikes(run):
    """However often it strikes, one call gives way, and none where it did not strike."""
    forget_threads()
    turns = []

    async def call():
        await Ready()

    def given():
        """Return whether a call leaves the turn to somebody else."""
        waiting = call()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        waiting.close()
        return True

    async def main():
        turns.append(given())
        let_way()
        let_way()
        turns.extend((given(), given()))
        let_way()
        # To the framework it is a wait like any other.
        await Ready()
        turns.append(given())

    RUNS[run](main)

    assert [False, True, False, False] == turns


@pytest.mark.parametrize("module", ["asyncio.events", "trio.lowlevel"])
def test_framework_that_is_just_being_imported(module, monkeypatch):
    """A module that has no names yet, because another thread imports it, runs no loop."""
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))

    assert running_loop() is None


def test_loops_seen():
    """That a loop was ever seen is remembered, until a fork."""
    forget_threads()
    assert not _waiting.loop_seen()

    async def main():
        running_loop()

    asyncio.run(main())
    assert _waiting.loop_seen()
    forget_threads()


def test_waiting_costs_nothing_while_nothing_happens():
    """Waiting on a thread is a wait, not a poll."""
    began = time.process_time()
    wait(lambda wake: None, 0.1)

    assert time.process_time() - began < 0.05
