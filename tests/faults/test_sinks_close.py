"""
A sink that will not close, and one that wants to be closed.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import hydra
from fallbacks.outcomes import DELIVERED
from fallbacks.tier import Kind
from hydra.engine import _loop
from tests.sinks._kit import Odd, of, until

pytestmark = pytest.mark.faults


class Tier:
    """A sync tier whose close does something."""

    kind = Kind.FINAL
    name = "mine"

    def __init__(self, act):
        self.act = act
        self.closed = threading.Event()

    def write(self, batch):
        return DELIVERED

    def close(self):
        self.closed.set()
        self.act()


class AsyncTier:
    """An async tier whose aclose does something."""

    kind = Kind.FINAL
    name = "mine"

    def __init__(self, act):
        self.act = act
        self.closed = threading.Event()

    async def write(self, batch):
        return DELIVERED

    async def aclose(self):
        self.closed.set()
        answer = self.act()
        if answer is not None:
            await answer


def nothing():
    """Close without ado."""
    return


def raising(error):
    """Return what raises *error* at close."""

    def act():
        raise error

    return act


@pytest.mark.parametrize("kind", [Tier, AsyncTier])
@pytest.mark.parametrize(
    "error", [None, ValueError("no"), SystemExit(1), KeyboardInterrupt(), Odd()]
)
def test_sink_is_closed_and_what_it_raises_stays_there(kind, error):
    """Closing the engine closes its sinks, sync and async; what they raise reaches nobody."""
    tier = kind(nothing if error is None else raising(error))
    hydra.configure(app="t", destinations=[hydra.Destination(tier, name="mine")])
    hydra.get_logger("shop").info("ordinary")

    stats = hydra.close(5)

    assert stats.balanced
    assert 1 == stats.delivered
    assert tier.closed.wait(5)


def test_sync_sink_whose_close_hangs_is_left_behind():
    """Closing does not wait for ever for a sink."""
    free = threading.Event()
    tier = Tier(free.wait)
    hydra.configure(app="t", destinations=[hydra.Destination(tier, name="mine")])
    hydra.get_logger("shop").info("ordinary")
    began = time.monotonic()
    hydra.close(1)
    took = time.monotonic() - began
    free.set()

    assert took < 3
    assert tier.closed.is_set()


def test_async_sink_whose_close_hangs_is_left_behind():
    """The same for a coroutine."""
    tier = AsyncTier(lambda: asyncio.sleep(3600))
    hydra.configure(app="t", destinations=[hydra.Destination(tier, name="mine")])
    hydra.get_logger("shop").info("ordinary")
    began = time.monotonic()
    stats = hydra.close(0.5)
    took = time.monotonic() - began

    assert took < 3
    assert stats.balanced
    assert tier.closed.is_set()


@pytest.mark.parametrize("record", [False, True])
def test_loop_that_is_just_starting_ends_as_well(record, monkeypatch):
    """A close that comes while the engine's loop is being started leaves no thread behind."""
    starting, ready = threading.Event(), threading.Event()

    def slow():
        starting.set()
        ready.wait(10)
        return False

    monkeypatch.setattr(_loop, "_has_uvloop", slow)

    async def sink(lines):
        pass

    hydra.configure(app="t", destinations=[hydra.Destination(sink, name="mine")])
    if record:
        hydra.get_logger("shop").info("ordinary")
    assert starting.wait(5)
    hydra.close(0)
    ready.set()

    until(
        lambda: all(thread.name != "hydra-loop" for thread in threading.enumerate()),
        "the engine's loop has ended",
    )
    assert hydra.stats().balanced


def test_files_and_threads_of_the_async_tier_go_at_close(tmp_path):
    """The async file tier gives its descriptor and its thread back; the leak check looks."""
    path = tmp_path / "app.log"
    hydra.configure(app="t", destinations=[{"name": "app", "type": "file", "path": str(path)}])
    log = hydra.get_logger("shop")

    async def scenario():
        n = 0
        while of("app").mode != "loop":
            log.info("ordinary", n=n)
            n += 1
            await asyncio.sleep(0.005)
        log.info("last", n=n)
        await hydra.aflush(5)
        assert of("app").tiers[0].delivered > 0
        await hydra.aclose(5)
        return n + 1

    count = asyncio.run(scenario())

    assert count == sum(b'"n":' in line for line in path.read_bytes().splitlines())
