"""
The engine's own loop: getting there, being there, and losing it.
"""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

import hydra
from hydra.engine import ENGINE, _loop
from tests.sinks._kit import Hanging, Sink, numbers, of, read, records, until

pytestmark = pytest.mark.integration


def test_records_queued_before_the_loop_is_ready_reach_the_sink(monkeypatch):
    """While the engine's loop is being started, records wait for the sink, not for its fallback."""
    ready = threading.Event()
    has_uvloop = _loop._has_uvloop
    monkeypatch.setattr(_loop, "_has_uvloop", lambda: ready.wait(10) and has_uvloop())
    sinks = [Sink(None), Sink(None)]
    hydra.configure(
        app="t",
        destinations=[
            hydra.Destination(sink.awrite, name=f"mine{n}") for n, sink in enumerate(sinks)
        ],
    )
    log = hydra.get_logger("shop")
    for n in range(100):
        log.info("early", n=n)
    log.error("early and grave", n=100)
    assert 0 == of("mine0").delivered

    ready.set()
    stats = hydra.flush(5)

    assert (True, 202, 0) == (stats.balanced, stats.delivered, stats.held)
    for sink in sinks:
        assert list(range(101)) == numbers(records(sink.lines))


def test_loop_whose_thread_cannot_start(monkeypatch, tmp_path):
    """Without a thread for the loop, files are served by threads and sinks by their fallbacks."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    sink = Sink(None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        hydra.configure(
            app="t",
            destinations=[
                hydra.Destination(sink.awrite, name="mine"),
                {"name": "app", "type": "file", "path": str(tmp_path / "app.log")},
            ],
        )
        log = hydra.get_logger("shop")
        for n in range(20):
            log.info("ordinary", n=n)
        stats = hydra.flush(5)

    assert (True, 20, 20) == (stats.balanced, stats.delivered, stats.held)
    assert isinstance(ENGINE.run.loop.failure, RuntimeError)
    assert list(range(20)) == numbers(read(tmp_path / "app.log"))
    assert [] == sink.lines


# asyncio cancels what has not begun when its loop is stopped, and Python says so.
@pytest.mark.filterwarnings("ignore:.*'_write' was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_sink_that_stops_the_loop_costs_nothing(tmp_path):
    """A sink that stops the engine's loop takes no other destination with it."""
    first = threading.Event()

    async def vandal(lines):
        first.set()
        asyncio.get_running_loop().stop()

    other = Sink(None)
    hydra.configure(
        app="t",
        destinations=[
            hydra.Destination(vandal, name="vandal", timeout=0.3, retries=0),
            hydra.Destination(other.awrite, name="other", timeout=0.3, retries=0),
            {"name": "app", "type": "file", "path": str(tmp_path / "app.log"), "timeout": 0.5},
        ],
    )
    log = hydra.get_logger("shop")
    log.info("ordinary", n=0)
    assert first.wait(5)
    for n in range(1, 50):
        log.info("ordinary", n=n)
    stats = hydra.flush(10)

    assert (True, 0) == (stats.balanced, stats.dropped)
    until(lambda: list(range(50)) == numbers(read(tmp_path / "app.log")), "the file has it all")
    assert 50 == of("other").delivered + of("other").held
    assert 50 == of("vandal").delivered + of("vandal").held
    hydra.close()
    gc.collect()


def test_blocked_loop_is_left_and_taken_up_again(tmp_path):
    """Threads serve while the loop is blocked; when it is free again, it serves as before."""
    hanging = Hanging("blocking")
    hydra.configure(
        app="t",
        destinations=[
            hydra.Destination(hanging.sink(), name="bad", timeout=0.2, retries=0),
            {
                "name": "app",
                "type": "file",
                "path": str(tmp_path / "app.log"),
                "timeout": 0.2,
                "writer": "loop",
            },
        ],
    )
    log = hydra.get_logger("shop")
    try:
        log.info("block", n=0)
        assert hanging.hung.wait(5)
        for n in range(1, 5):
            log.info("meanwhile", n=n)
        assert hydra.flush(10).balanced
        assert list(range(5)) == numbers(read(tmp_path / "app.log"))
        # The file's writer may be on its way to the loop, until that is found to hang.
        until(
            lambda: {of("app").mode, of("bad").mode} <= {"thread", "new"},
            "nobody is served by the loop that hangs",
        )
    finally:
        hanging.release()
    hydra.flush(5)
    until(lambda: of("bad").mode == "loop", "the sink is served by the loop again")
    log.info("after", n=5)
    hydra.flush(5)
    until(lambda: of("bad").delivered == 6, "the sink has everything")
    until(lambda: of("app").mode == "loop", "the file is served by the loop again")

    assert list(range(6)) == sorted(set(numbers(records(hanging.lines))))


@pytest.mark.parametrize("writer", ["thread", "loop", "auto"])
def test_move_under_load_loses_nothing(writer, tmp_path):
    """
    Threads log while the process is seen to run a loop: the writer moves or stays as it is told,
    and each thread's records are in the file once and in order.
    """
    path = tmp_path / "app.log"
    hydra.configure(
        app="t",
        destinations=[{"name": "app", "type": "file", "path": str(path), "writer": writer}],
    )
    log = hydra.get_logger("shop")
    modes = set()
    stop = threading.Event()
    counts = [0, 0, 0]

    def produce(thread):
        n = 0
        while not stop.is_set():
            log.info("ordinary", t=thread, n=n)
            n += 1
            if n % 500 == 0:
                hydra.flush(5)
        counts[thread] = n

    threads = [threading.Thread(target=produce, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()

    async def service():
        wanted = {"thread": "thread", "loop": "loop", "auto": "loop"}[writer]
        for n in range(2000):
            await log.info("on the loop", t=3).delivered(30)
            modes.add(of("app").mode)
            if wanted in modes and n > 100:
                break

    asyncio.run(service())
    stop.set()
    for thread in threads:
        thread.join()
    stats = hydra.close()

    assert (True, 0, stats.accepted) == (stats.balanced, stats.dropped, stats.delivered)
    assert ("loop" in modes) == (writer != "thread")
    found = [record for record in read(path) if "n" in record]
    for thread in range(3):
        assert list(range(counts[thread])) == [r["n"] for r in found if r["t"] == thread]
