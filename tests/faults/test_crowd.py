"""
Crowds: threads, tasks and loggers by the thousand.
"""

from __future__ import annotations

import json

import pytest

from tests.faults.programs import STYLED, World

pytestmark = pytest.mark.faults

THREADS = """
import threading
def work(n):
    together.wait()
    (log.error if n % 50 == 0 else log.info)(f"thread {n}")
for start in range(0, int(sys.argv[1]), 250):
    together = threading.Barrier(250)
    crowd = [threading.Thread(target=work, args=(start + n,)) for n in range(250)]
    for thread in crowd: thread.start()
    for thread in crowd: thread.join()
stats = hydra.close()
print(stats.balanced, stats.accepted, stats.dropped)
"""


def test_threads_with_one_record_each(tmp_path, long):
    """
    Ten thousand threads, 250 at a time, each of which logs once and ends: each record is there.
    """
    world = World(tmp_path)
    number = 10_000 if long else 2_000
    ended = world.run(THREADS, number)

    assert (f"True {number} 0\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert {f"thread {n}" for n in range(number)} == set(world.messages())
    assert number == len(world.messages())
    assert [] == world.directories()


TASKS = """
import anyio
async def main():
    async def work(n):
        log = hydra.get_logger(f"shop.{n % 100}")
        await anyio.sleep(0)
        await (log.error if n % 50 == 0 else log.info)(f"task {n}")
    async with anyio.create_task_group() as group:
        for n in range(2_000): group.start_soon(work, n)
anyio.run(main, backend=sys.argv[1])
stats = hydra.close()
print(stats.balanced, stats.accepted, stats.dropped)
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_two_thousand_tasks_and_a_hundred_loggers(tmp_path, backend):
    """
    Tasks that all await a call at once, through a hundred loggers: each record is there.
    """
    world = World(tmp_path)
    ended = world.run(TASKS, backend)

    assert ("True 2000 0\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert sorted(f"task {n}" for n in range(2_000)) == sorted(world.messages())
    assert 100 == len({each["logger"] for each in world.records()})
    assert [] == world.directories()


MEMORY = (
    """
import json, threading
def resident():
    with open("/proc/self/statm") as file: return int(file.read().split()[1]) * 4096
async def scenario(call):
    async def turn(count):
        for n in range(count):
            done = []
            thread = threading.Thread(target=lambda: done.append(log.info("from a thread")))
            thread.start(); thread.join()
            await call(log.info("from the main thread"))
            if n % 100 == 0: hydra.flush()
    await turn(1_000)
    before = resident()
    await turn(2_000)
    print(json.dumps(resident() - before))
"""
    + STYLED
)


def test_threads_that_come_and_go_leave_nothing(tmp_path, style):
    """
    What is remembered of a thread goes with it: a process with ever new threads does not grow.
    """
    world = World(tmp_path)
    ended = world.run(MEMORY, style)

    assert (0, "") == (ended.status, ended.stderr)
    # A kilobyte for each thread would be two million.
    assert 1_500_000 > json.loads(ended.stdout)
