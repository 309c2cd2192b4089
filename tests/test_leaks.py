from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallbacks.testing import _leaks

pytestmark = pytest.mark.unit


@pytest.fixture(name="before")
def _before() -> _leaks.Snapshot:
    return _leaks.snapshot()


@pytest.fixture(name="stop")
def _stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_nothing_left_is_no_leak(before: _leaks.Snapshot) -> None:
    """
    A test that leaves nothing behind passes at once.
    """
    assert [] == _leaks.leaks_since(before, grace=0)


def test_running_thread_is_a_leak(before: _leaks.Snapshot, stop: threading.Event) -> None:
    """
    A thread that outlives its test is named.
    """
    thread = threading.Thread(target=stop.wait, name="forgotten", daemon=True)
    thread.start()

    assert ["thread 'forgotten' is still running"] == _leaks.leaks_since(before, grace=0)

    stop.set()
    thread.join()


def test_ending_thread_is_waited_for(before: _leaks.Snapshot) -> None:
    """
    A thread on its way out is no leak.
    """
    leave = threading.Event()

    class Ending(threading.Thread):
        """End at the moment somebody waits for it, and no sooner."""

        def join(self, timeout: float | None = None) -> None:
            leave.set()
            super().join(timeout)

    Ending(target=leave.wait, daemon=True).start()

    assert [] == _leaks.leaks_since(before)


@pytest.mark.skipif(not _leaks.PROC.is_dir(), reason="needs /proc")
def test_thread_unknown_to_python_is_a_leak(
    before: _leaks.Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A thread that only the kernel knows is found as well.
    """
    known = os.getpid()
    monkeypatch.setattr(_leaks, "_native", lambda: {known, 4_000_001})

    assert [
        "native thread 4000001 is still running and Python does not know it"
    ] == _leaks.leaks_since(before, grace=0)


def test_idle_thread_of_trio_is_no_leak(before: _leaks.Snapshot, stop: threading.Event) -> None:
    """
    The threads that trio keeps for later belong to trio.
    """
    thread = threading.Thread(target=stop.wait, name="Trio thread 7", daemon=True)
    thread.start()

    assert [] == _leaks.leaks_since(before, grace=0)

    stop.set()
    thread.join()


@pytest.mark.skipif(not _leaks.PROC.is_dir(), reason="needs /proc")
def test_open_descriptor_is_a_leak(before: _leaks.Snapshot, tmp_path: Path) -> None:
    """
    A descriptor that outlives its test is named with its target.
    """
    path = tmp_path / "left.log"
    number = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        found = _leaks.leaks_since(before, grace=0)
    finally:
        os.close(number)

    assert [f"descriptor {number} is still open: {path}"] == found
    assert [] == _leaks.leaks_since(before, grace=0)


@pytest.mark.skipif(not _leaks.PROC.is_dir(), reason="needs /proc")
def test_reused_number_is_a_leak(tmp_path: Path) -> None:
    """
    A descriptor that took the number of a closed one is a leak all the same.
    """
    first = os.open(tmp_path / "first", os.O_CREAT | os.O_WRONLY)
    before = _leaks.snapshot()
    os.close(first)
    second = os.open(tmp_path / "second", os.O_CREAT | os.O_WRONLY)
    try:
        found = _leaks.leaks_since(before, grace=0)
    finally:
        os.close(second)

    assert first == second
    assert [f"descriptor {second} is still open: {tmp_path / 'second'}"] == found


def test_task_of_an_abandoned_loop_is_a_leak(before: _leaks.Snapshot) -> None:
    """
    A task that is not done is found although no loop runs any more.
    """
    loop = asyncio.new_event_loop()
    never = loop.create_future()
    task = loop.create_task(asyncio.wait_for(never, None), name="forgotten")
    found = [leak for leak in _leaks.leaks_since(before, grace=0) if "forgotten" in leak]
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()

    assert 1 == len(found)
    assert [] == _leaks.leaks_since(before)
