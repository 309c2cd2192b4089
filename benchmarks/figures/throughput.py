from __future__ import annotations

import asyncio
import threading
import time
from math import inf
from typing import Any, Final

from ..producing import PATH, SETTLE, WARM, need_plain, produce, produce_on_loop, run
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Delivered throughput"
NOTE: Final = (
    "Records in the file for each second until `close` has returned, of a library that has "
    "logged a thousand before and had a moment to settle. "
    "`awaited` and `tasks` run under uvloop and await each call where the library lets them; "
    "the loop gets a turn every millisecond, with many tasks after each record."
)
METRICS: Final = {
    "rate": Metric("records a second", "1/s", more=True),
    "cpu": Metric("CPU seconds for a million records", "s"),
}


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {
        "plain": {"seconds": scale.seconds},
        "awaited": {"seconds": scale.seconds, "tasks": 1},
        "4 threads": {"seconds": scale.seconds, "threads": 4},
        "8 threads": {"seconds": scale.seconds, "threads": 8},
        "1,000 tasks": {"seconds": scale.seconds, "tasks": 1_000},
    }


def program(adapter: Adapter, seconds: float, threads: int = 0, tasks: int = 0) -> Measured:
    if tasks:
        counts, wall, cpu = run(_tasks(adapter, seconds, tasks))
    else:
        need_plain(adapter)
        counts, wall, cpu = _threads(adapter, seconds, threads)
    made = sum(counts) - WARM
    return Measured({"rate": made / wall, "cpu": cpu / made * 1e6}, path=PATH, counts=counts)


def _threads(adapter: Adapter, seconds: float, threads: int) -> tuple[list[int], float, float]:
    adapter.setup(PATH, "info")
    warm = produce(adapter.info, inf, most=WARM)
    time.sleep(SETTLE)
    counts = [0] * (threads or 1)
    gate = threading.Barrier(threads + 1)

    def work(producer: int) -> None:
        gate.wait()
        counts[producer] = produce(adapter.info, seconds, producer, made=0 if producer else warm)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    began, used = time.perf_counter(), time.process_time()
    if not threads:
        counts[0] = produce(adapter.info, seconds, made=warm)
    for worker in workers:
        worker.join()
    adapter.close()
    return counts, time.perf_counter() - began, time.process_time() - used


async def _tasks(adapter: Adapter, seconds: float, tasks: int) -> tuple[list[int], float, float]:
    await adapter.asetup(PATH, "info")
    info, awaited = adapter.info, adapter.promises.awaited
    warm = await produce_on_loop(info, awaited, inf, most=WARM)
    await asyncio.sleep(SETTLE)
    pace = {} if tasks == 1 else {"chunk": 1, "turn": 0.0}
    began, used = time.perf_counter(), time.process_time()
    producing = (
        produce_on_loop(info, awaited, seconds, number, made=0 if number else warm, **pace)
        for number in range(tasks)
    )
    counts = list(await asyncio.gather(*producing))
    await adapter.aclose()
    return counts, time.perf_counter() - began, time.process_time() - used
