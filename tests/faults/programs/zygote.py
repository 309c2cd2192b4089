"""
Start a process, kill it, start the next one: some hundred times.

    zygote.py DIRECTORY CYCLES SEED

The parent has everything imported and forks, so that a cycle costs a few
milliseconds. The child configures hydra (which takes over what its predecessor
left), logs from several threads, and after each ERROR whose call has returned
counts it in memory that outlives it. The parent kills it at some moment.

The shared memory holds, per cycle and thread, how many ERRORs were promised.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time

import aiofiles  # noqa: F401 - so that a child on an event loop need not import it
import anyio
import anyio._backends._asyncio  # noqa: F401
import uvloop  # noqa: F401

import hydra

THREADS = 3
PATIENT = 10
LONG = "x" * 3000


def main(directory: str, cycles: int, seed: int) -> None:
    """Run the cycles, then one start that ends well; print what was measured."""
    shared = mmap.mmap(os.open(f"{directory}/promised", os.O_RDWR), 0)
    dice = random.Random(seed)
    began = time.monotonic()
    kills = 0
    for cycle in range(cycles):
        kills += run_and_kill(directory, cycle, shared, dice)
    seconds = time.monotonic() - began
    pid = os.fork()
    if not pid:
        configure(directory, 0)
        hydra.flush(20.0)
        hydra.close(20.0)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print(json.dumps({"kills": kills, "seconds": seconds, "status": status}))


def run_and_kill(directory: str, cycle: int, shared: mmap.mmap, dice: random.Random) -> bool:
    """Fork the child of *cycle* and kill it; return whether it still lived."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(told)
            live(directory, cycle, shared, tell)
        finally:
            os._exit(1)
    os.close(tell)
    if cycle % 4 or cycle % PATIENT == 0:
        # Of the others most die while they start.
        os.read(told, 1)
    time.sleep(dice.uniform(0, 0.012) if cycle % 3 else dice.expovariate(1000))
    os.kill(pid, signal.SIGKILL)
    os.close(told)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def configure(directory: str, cycle: int) -> None:
    """Configure the run of *cycle*; some fill their segments quickly."""
    hydra.configure(
        app="shop",
        level="debug",
        state_dir=f"{directory}/state",
        journal={"segment": "128 KiB" if cycle % 2 else "1 MiB", "sync_interval": 0.01},
        destinations=[{"name": "app", "type": "file", "path": f"{directory}/app.log"}],
    )


def live(directory: str, cycle: int, shared: mmap.mmap, tell: int) -> None:
    """Log until killed."""
    configure(directory, cycle)
    if cycle % PATIENT == 0:
        # Once in a while a start lives long enough to take over everything.
        hydra.flush(20.0)
    if cycle % 5 == 4:
        asyncio.run(log_in_tasks(cycle, shared, tell))
        return
    threads = [
        threading.Thread(target=log_on, args=(cycle, thread, shared, tell), daemon=True)
        for thread in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def log_on(cycle: int, thread: int, shared: mmap.mmap, tell: int) -> None:
    """Log on a thread: some chatter, then an ERROR, and so on."""
    log = hydra.get_logger(f"shop.{thread}")
    for n in range(1, 100_000):
        log.info("chatter", text=LONG if n % 7 == 0 else "short")
        log.debug("chatter")
        log.error("promised", key=f"{cycle}.{thread}.{n}", text=LONG if n % 11 == 0 else "")
        promise(shared, cycle, thread, n)
        if n == 1:
            os.write(tell, b".")


async def log_in_tasks(cycle: int, shared: mmap.mmap, tell: int) -> None:
    """Log on an event loop, from a few tasks, each call awaited."""
    await asyncio.gather(*(log_awaited(cycle, task, shared, tell) for task in range(THREADS)))


async def log_awaited(cycle: int, task: int, shared: mmap.mmap, tell: int) -> None:
    """Log from a task: as on a thread, each call awaited."""
    log = hydra.get_logger(f"shop.{task}")
    kept = True
    for n in range(1, 100_000):
        await log.info("chatter", text=LONG if n % 7 == 0 else "short")
        receipt = log.error("promised", key=f"{cycle}.{task}.{n}")
        await receipt
        # On a loop a stalled page cache degrades an ERROR to Q, which its receipt
        # admits; a busy machine looks like one. From there on nothing is promised.
        kept = kept and receipt.durability is not hydra.Durability.QUEUED
        if kept:
            promise(shared, cycle, task, n)
        if n == 1:
            os.write(tell, b".")
        if n % 5 == 0:
            await asyncio.sleep(0)


def promise(shared: mmap.mmap, cycle: int, thread: int, n: int) -> None:
    """Note that the call for ERROR *n* has returned: one copy of eight bytes."""
    struct.pack_into("=Q", shared, (cycle * THREADS + thread) * 8, n)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
