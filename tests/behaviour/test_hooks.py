"""
Hooks: what they are told, on which thread, and what becomes of one that misbehaves.
"""

from __future__ import annotations

import functools
import threading
import time

import pytest

import hydra
from fallbacks import Retryable
from hydra.core.exceptions import ConfigurationError
from hydra.engine import ENGINE
from tests.contract import kit

pytestmark = pytest.mark.integration

RECORDS = 20


class Told:
    """Hooks that keep what they are told, and on which thread."""

    def __init__(self):
        self.events = []
        self.threads = set()
        self._more = threading.Semaphore(0)

    def __call__(self, event):
        self.events.append(event)
        self.threads.add(threading.get_ident())
        self._more.release()

    def wait(self, count=1):
        """Wait until *count* more events have come."""
        for _ in range(count):
            assert self._more.acquire(timeout=kit.PATIENCE)


def configure(sink, when_full="drop_new", **hooks):
    """Configure a queue of twenty with a sink, and hooks."""
    hydra.configure(
        level="trace",
        destinations=[kit.destination(sink)],
        queue={"records": RECORDS, "reserve": 5, "when_full": when_full},
        hooks=hooks,
    )
    return hydra.get_logger("shop")


def fill(sink, log, refused=0):
    """Fill the queue of a writer that hangs, and have *refused* records dropped."""
    kit.block_writer(sink, log)
    for n in range(RECORDS + refused):
        log.info("n", n=n)


def test_pressure_is_told_when_it_comes_and_goes(sink):
    """The queue passes its high-water mark, and falls below the low one: two events."""
    told = Told()
    log = configure(sink, on_pressure=told)
    fill(sink, log)
    told.wait()
    sink.open()
    told.wait()
    kit.closed()
    rise, fall = told.events

    assert ("app", True, RECORDS, RECORDS) == (
        rise.destination, rise.high, rise.depth, rise.capacity,
    )  # fmt: skip
    assert (False, True) == (fall.high, fall.depth <= RECORDS // 2)
    assert threading.get_ident() not in told.threads


def test_drops_are_told_with_level_and_reason(sink):
    """A burst of drops is one call that has them all, and the rest comes at the close."""
    told = Told()
    log = configure(sink, on_drop=told)
    fill(sink, log, refused=30)
    log.warning("n")
    told.wait()
    for _ in range(5):
        log.debug("n")
    sink.open()
    stats = kit.closed()
    total = sum(event.count for event in told.events)

    assert 36 == total == stats.dropped
    assert 5 == sum(event.drops.get(("debug", "queue_full"), 0) for event in told.events)
    assert {"app"} == {event.destination for event in told.events}
    assert all(event.count == sum(event.drops.values()) for event in told.events)


def test_drops_are_told_once_a_second(sink):
    """However often it is looked, a second has to pass before the next call."""
    told = Told()
    log = configure(sink, on_drop=told)
    run = ENGINE.run
    herald, writer = run.herald, run.services["app"].writer
    herald._threaded = False
    fill(sink, log, refused=1)
    for _ in range(10):
        log.info("n")
        herald.look(writer)
        rest = herald.deliver()
    first = list(told.events)
    herald._dropped_at["app"] -= 1.0
    herald.deliver()
    sink.open()
    kit.closed()

    assert 1 == len(first)
    assert 0 < rest <= 1.0
    assert 2 == len(told.events)


def test_failover_and_recovery(tmp_path):
    """When a fallback takes over, and when the destination is back, each is told once."""
    failing, told, taken = threading.Event(), Told(), []

    def sink(lines):
        if failing.is_set():
            return Retryable("the line is dead")
        taken.extend(lines)
        return None

    hydra.configure(
        destinations=[
            {"name": "app", "type": "sink", "sink": sink, "retries": 0,
             "fallback": [{"type": "file", "path": str(tmp_path / "held")}]},
        ],
        hooks={"on_failover": told, "on_recovery": told},
    )  # fmt: skip
    log = hydra.get_logger("shop")
    log.info("before")
    hydra.flush()
    failing.set()
    for _ in range(3):
        log.info("during")
        hydra.flush()
    told.wait()
    failing.clear()
    deadline = time.monotonic() + kit.PATIENCE
    while hydra.flush().held and time.monotonic() < deadline:
        """What is held is on its way."""
    told.wait()
    kit.closed()
    failover, recovery = told.events

    assert hydra.FailoverEvent("app", "sink", "fallback", "the line is dead") == failover
    assert ("app", "sink") == (recovery.destination, recovery.tier)
    assert recovery.seconds >= 0
    assert 5 <= len(taken)


def test_hook_that_raises_is_counted(sink):
    """Whatever a hook raises, the records arrive, and Stats tells of it."""

    def broken(event):
        raise SystemExit("broken")

    log = configure(sink, on_drop=broken)
    fill(sink, log, refused=3)
    sink.open()
    stats = kit.closed()

    assert (RECORDS + 1, 3) == (stats.delivered, stats.dropped)
    assert stats.hooks.failed == stats.hooks.calls >= 1
    assert "on_drop: SystemExit: broken" == stats.hooks.last_error
    assert "hydra_hook_failures_total" in hydra.metrics_text()


@pytest.mark.leaks_ok("the thread of a hook that never returns until the test lets it")
def test_hook_that_hangs_holds_nothing_up(sink):
    """
    The writer goes on, later events take each other's place, the close is in time, and
    after it no hook is called.
    """
    let_go, hung, calls = threading.Event(), threading.Event(), []

    def hang(event):
        calls.append(event)
        hung.set()
        let_go.wait(60)

    log = configure(sink, on_pressure=hang)
    herald, writer = ENGINE.run.herald, ENGINE.run.services["app"].writer
    fill(sink, log)
    assert hung.wait(kit.PATIENCE)
    for _ in range(100):
        herald._post("on_pressure", "app", "news")
        herald.look(writer)
    waiting = len(herald._mail)
    sink.open()
    flushed = hydra.flush(kit.PATIENCE)
    began = time.monotonic()
    stats = hydra.close(0.5)
    took = time.monotonic() - began
    let_go.set()
    herald.wait_ended(kit.PATIENCE)

    assert (1, 1) == (waiting, len(calls))
    assert (RECORDS + 1, 0) == (flushed.delivered, flushed.pending)
    assert took < 5.0
    assert stats.hooks.coalesced >= 99
    assert stats.hooks.running > 0


def test_drops_of_a_close_out_of_time_are_told(sink):
    """A hook has a moment although the destination has hung for the whole time of the close."""
    counts = []

    def count(event):
        threading.Event().wait(0.05)
        counts.append(event.count)

    log = configure(sink, on_drop=count)
    fill(sink, log)
    stats = hydra.close(0.1)
    told = sum(counts)
    sink.open()

    assert stats.dropped == told > 0


def test_hook_that_logs_does_not_feed_itself(sink):
    """A hook about drops whose own record is dropped is not called over and over."""
    calls = []
    log = configure(sink, on_drop=lambda event: calls.append(log.info("in the hook")))
    fill(sink, log, refused=1)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        log.info("n")
    before_close = len(calls)
    sink.open()
    kit.closed()

    assert before_close <= 2


def test_hook_may_close(sink):
    """A hook that closes does not wait for itself."""
    took = []

    def close(event):
        called.set()
        began = time.monotonic()
        hydra.close(kit.PATIENCE)
        took.append(time.monotonic() - began)
        done.set()

    called, done = threading.Event(), threading.Event()
    log = configure(sink, on_pressure=close)
    fill(sink, log)
    assert called.wait(kit.PATIENCE)
    sink.open()

    assert done.wait(kit.PATIENCE)
    assert took[0] < kit.PATIENCE / 2
    kit.closed()


def test_thread_ends_before_a_fork(sink):
    """News that wait for their second wait without a thread, and are told after the fork."""
    told = Told()
    log = configure(sink, on_drop=told, on_pressure=told)
    herald, writer = ENGINE.run.herald, ENGINE.run.services["app"].writer
    fill(sink, log, refused=1)
    told.wait(2)
    log.info("n")
    herald.look(writer)
    ENGINE.park()
    parked = herald._thread.running
    herald._post("on_pressure", "app", "news")
    between = (herald._thread.running, len(told.events))
    ENGINE.unparked()
    told.wait(2)
    sink.open()
    kit.closed()

    assert (False, (False, 2)) == (parked, between)
    assert "news" in told.events


def test_hook_may_fork(sink, monkeypatch):
    """The thread that a hook is called on does not wait for itself before it forks."""
    monkeypatch.setattr("hydra.engine._run._PARK", kit.PATIENCE)
    took, done = [], threading.Event()

    def fork(event):
        began = time.monotonic()
        ENGINE.park()
        took.append(time.monotonic() - began)
        ENGINE.unparked()
        done.set()

    log = configure(sink, on_drop=fork)
    fill(sink, log, refused=1)
    assert done.wait(kit.PATIENCE)
    sink.open()
    stats = kit.closed()

    assert took[0] < kit.PATIENCE / 2
    assert 0 == stats.hooks.failed


def test_no_hooks_no_herald(sink):
    """Without hooks there is nothing that would be told, and no thread."""
    kit.configure(sink)

    assert ENGINE.run.herald is None
    assert ENGINE.run.services["app"].writer.herald is None
    kit.closed()


def test_hooks_are_plain_functions(sink):
    """A coroutine function, and what cannot be called, is refused by its place."""

    async def later(event):
        """Never run."""

    class Later:
        __call__ = later

    for wrong in (later, functools.partial(later), Later(), "print", 7):
        with pytest.raises(ConfigurationError, match=r"hooks\.on_drop: must be a"):
            hydra.configure(hooks={"on_drop": wrong})


def test_hook_that_returns_an_awaitable_has_failed(sink):
    """What nobody would await is closed and counted as a failure."""

    async def later():
        """Never run."""

    log = configure(sink, on_drop=lambda event: later())
    fill(sink, log, refused=1)
    sink.open()
    stats = kit.closed()

    assert stats.hooks.failed >= 1
    assert "awaitable" in stats.hooks.last_error
