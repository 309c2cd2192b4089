"""
What code must not leave behind: threads, native threads, tasks, descriptors.

Rule 1: a snapshot holds identities, not counts, so that one leak and one
unrelated ending do not cancel each other out.
Rule 2: what is already on its way out gets a bounded grace; it is waited for,
never slept for.
Rule 3: /proc is read where it exists; elsewhere only what Python itself knows
is compared.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

GRACE: Final = 2.0
"""Seconds that endings under way may take before they count as leaks."""

PROC: Final = Path("/proc/self")

# trio keeps the threads of finished to_thread calls for ten seconds to use them
# again; a thread that is at work carries the name of its work instead.
IDLE_OF_OTHERS: Final = re.compile(r"Trio thread \d+")


REGISTRY: Final = "_all_tasks" if sys.version_info < (3, 12) else "_scheduled_tasks"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What exists in this process at one moment."""

    threads: frozenset[threading.Thread]
    native: frozenset[int]
    tasks: frozenset[asyncio.Task[Any]]
    descriptors: frozenset[tuple[int, str]]


def snapshot() -> Snapshot:
    """Return what exists now."""
    return Snapshot(
        threads=frozenset(threading.enumerate()),
        native=frozenset(_native()),
        tasks=frozenset(_tasks()),
        descriptors=frozenset(_descriptors()),
    )


def leaks_since(before: Snapshot, *, grace: float = GRACE) -> list[str]:
    """
    Return one sentence for each thing that exists now and did not in *before*.

    Args:
        before: What existed when the test began.
        grace: Seconds to wait for endings under way. The wait is over as soon
            as nothing is left.
    """
    deadline = time.monotonic() + grace
    found = _compare(before)
    if not found:
        return []
    # A cycle, such as a traceback that a test caught, may keep things open that
    # nobody can reach any more.
    gc.collect()
    never = threading.Event()
    while (found := _compare(before)) and time.monotonic() < deadline:
        ending = next(iter(_new_threads(before)), None)
        if ending is None:
            never.wait(0.005)
        elif ending.is_alive():
            ending.join(0.02)
    return found


def _compare(before: Snapshot) -> list[str]:
    threads = _new_threads(before)
    explained = {thread.native_id for thread in threading.enumerate()}
    return [
        *(f"thread {thread.name!r} is still running" for thread in threads),
        *(
            f"native thread {tid} is still running and Python does not know it"
            for tid in sorted(_native() - before.native - explained)
        ),
        *(f"task is not done: {task!r}" for task in _tasks() if task not in before.tasks),
        *(
            f"descriptor {number} is still open: {target}"
            for number, target in sorted(_descriptors() - before.descriptors)
        ),
    ]


def _new_threads(before: Snapshot) -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread not in before.threads and not IDLE_OF_OTHERS.fullmatch(thread.name)
    ]


def _native() -> set[int]:
    tasks = PROC / "task"
    return {int(name) for name in os.listdir(tasks)} if tasks.is_dir() else set()


def _descriptors() -> set[tuple[int, str]]:
    return set(_read_descriptors()) if (PROC / "fd").is_dir() else set()


def _read_descriptors() -> Iterator[tuple[int, str]]:
    for name in os.listdir(PROC / "fd"):
        try:
            yield int(name), os.readlink(PROC / "fd" / name)
        except FileNotFoundError:
            # Closed since: the descriptor of the listing itself always is.
            continue


def _tasks() -> list[asyncio.Task[Any]]:
    """
    Return the tasks that are not done, those of closed loops included.

    asyncio.all_tasks asks for a loop, and the loop of a forgotten task is
    usually gone. Up to 3.13 asyncio keeps one weak set of all tasks; later the
    collector is asked, which takes some milliseconds more.
    """
    found: Iterable[Any]
    if sys.version_info >= (3, 14):
        found = gc.get_objects()
    else:
        found = vars(asyncio.tasks)[REGISTRY]
    # Not isinstance: it would ask lazy objects and mocks for their __class__.
    return [task for task in found if issubclass(type(task), asyncio.Task) and not task.done()]
