"""
Everything at once into one file: threads, two event loops, worker processes.

    python examples/mixed.py [DIRECTORY]

Workers are made by fork (they log through what they inherited, under a run id of
their own) and by spawn (they configure themselves). Each process and each
configuration proves its own records in the end: `hydra audit` says `complete`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Final

import hydra

EACH: Final = 500
"""Records of every thread, task and worker."""

log = hydra.get_logger("mixed")


def configure(directory: Path) -> None:
    """Configure this process: all processes write to one file."""
    hydra.configure(
        app="mixed-example",
        destinations=[{"name": "app", "type": "file", "path": str(directory / "mixed.log")}],
    )


def forked(number: int) -> None:
    """Log in a child made by fork: nothing to configure, nothing to close."""
    plain(f"fork {number}")


def spawned(directory: Path, number: int) -> None:
    """Log in a child made by spawn: a fresh interpreter."""
    configure(directory)
    plain(f"spawn {number}")


def plain(who: str) -> None:
    """Log without an event loop."""
    mine = log.bind(who=who)
    for number in range(EACH):
        mine.info("step", number=number)
    mine.error("last step failed")


async def awaited(who: str) -> None:
    """Log from a task."""
    mine = log.bind(who=who)
    for number in range(EACH):
        await mine.info("step", number=number)
    await mine.error("last step failed")


async def two_tasks(who: str) -> None:
    """Log from two tasks of one loop."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(awaited(f"{who} a"))
        tasks.create_task(awaited(f"{who} b"))


def main(directory: Path) -> int:
    """Run everybody, close, and have the file audited; return the audit's exit status."""
    configure(directory)
    log.info("started")
    fork = multiprocessing.get_context("fork")
    spawn = multiprocessing.get_context("spawn")
    # Forks first: beside threads of the application's own a fork is not safe.
    children = [
        *(fork.Process(target=forked, args=(number,)) for number in (1, 2)),
        *(spawn.Process(target=spawned, args=(directory, number)) for number in (1, 2)),
    ]
    for child in children:
        child.start()
    threads = [
        *(Thread(target=plain, args=(f"thread {number}",)) for number in (1, 2)),
        *(Thread(target=asyncio.run, args=(two_tasks(f"loop {number}"),)) for number in (1, 2)),
    ]
    for thread in threads:
        thread.start()
    for each in (*threads, *children):
        each.join()
    stats = hydra.close()
    print(f"this process: {stats.delivered} delivered, balanced: {stats.balanced}", flush=True)
    command = [sys.executable, "-m", "hydra", "audit", str(directory / "mixed.log")]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "logs")))
