"""
The watchdog: calls that outlive their deadline, whoever made them.
"""

from __future__ import annotations

import threading

import pytest

import hydra
from fallbacks.outcomes import DELIVERED
from fallbacks.tiers import StreamTier
from hydra.engine import ENGINE
from hydra.engine._watchdog import Watchdog
from hydra.queue import State
from tests.sinks._kit import of, until

pytestmark = pytest.mark.integration


class Stub:
    """A writer as the watchdog sees it."""

    def __init__(self, *, overdue=False, busy=True):
        self.overdue = overdue
        self.busy = busy
        self.rescued = 0

    def rescue(self):
        self.rescued += 1
        self.overdue = False


def test_overdue_is_rescued_and_idle_is_forgotten():
    """One look rescues whoever is overdue; who is idle is not looked at again."""
    watchdog = Watchdog(threaded=False)
    late, idle, busy = Stub(overdue=True), Stub(busy=False), Stub()
    for one in (late, idle, busy):
        watchdog.watch(one)
    watchdog.look()
    idle.overdue = True
    watchdog.look()

    assert [1, 0, 0] == [late.rescued, idle.rescued, busy.rescued]


def test_thread_that_left_comes_back():
    """After `leave` the next writer that gets busy is watched again."""
    watchdog = Watchdog()
    for _ in range(20):
        one = Stub(overdue=True)
        watchdog.watch(one)
        until(lambda one=one: one.rescued, "it is rescued")
        one.busy = False
        watchdog.leave()
    until(lambda: not watchdog.running, "its thread has ended")


def test_loop_that_is_heard_of_after_the_end(tmp_path):
    """What the engine's loop still has to tell when its run is over starts no thread again."""
    hydra.configure(
        app="t",
        destinations=[
            {"name": "app", "type": "file", "path": str(tmp_path / "app.log"), "writer": "loop"}
        ],
    )
    run = ENGINE.run
    hydra.get_logger("shop").info("ordinary")
    until(lambda: of("app").mode == "loop", "the loop serves")
    hydra.close()
    until(lambda: not run.watchdog.running, "its thread has ended")
    run.services["app"].heard()

    assert not run.watchdog.running


def test_caller_that_hangs_while_it_helps_is_left_behind(monkeypatch, capfd):
    """
    A caller stuck in the console does not keep the destination: its batch goes on to the next
    tier, others log on, and when it comes back it touches nothing.
    """
    free, hung, helpers = threading.Event(), threading.Event(), []
    real = StreamTier.write

    def write(self, batch):
        if self.name != "console" or free.is_set():
            return real(self, batch)
        helpers.append(threading.current_thread().name)
        hung.set()
        free.wait()
        return DELIVERED

    monkeypatch.setattr(StreamTier, "write", write)
    hydra.configure(
        app="t",
        queue={"block_timeout": 0.2},
        destinations=[
            {
                "name": "console",
                "type": "console",
                "stream": "stdout",
                "timeout": 0.3,
                "retries": 0,
                "format": "json",
            }
        ],
    )
    # The caller is to be the one who hangs, so nobody else may drain.
    monkeypatch.setattr(ENGINE.run.services["console"], "_ring_thread", lambda: None)
    monkeypatch.setattr(ENGINE.run.services["console"], "start", lambda: None)
    ENGINE.run.services["console"].queue.ring = lambda: None
    log = hydra.get_logger("shop")
    receipts = []
    caller = threading.Thread(
        target=lambda: receipts.append(log.error("grave", n=0)), name="caller"
    )
    caller.start()
    try:
        assert hung.wait(5)
        ENGINE.run.watchdog.watch(ENGINE.run.services["console"])
        until(lambda: of("console").rescues == 1, "the caller is left behind")
        until(lambda: of("console").delivered == 1, "the next tier has the record")
    finally:
        free.set()
        caller.join(5)

    assert ["caller"] == helpers
    fate = receipts[0].wait(5).fates["console"]
    assert (State.DELIVERED, "stderr") == (fate.state, fate.tier)
    monkeypatch.undo()
    ENGINE.run.services["console"]._enter(ENGINE.run.services["console"].mode)
    log.error("after", n=1)
    stats = hydra.close()
    assert (True, 2, 0) == (stats.balanced, stats.delivered, stats.dropped)
    out, err = capfd.readouterr()
    assert 1 == err.count('"n":0')
    assert 1 == (out + err).count('"n":1')
