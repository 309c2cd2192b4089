"""
System calls of a real process that fail, take long, or are its last; strace sees to it.
"""

from __future__ import annotations

import json
import signal

import pytest

from tests.faults.programs import STYLED, World

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("strace")]

LIFE = (
    """
async def scenario(call):
    for n in range(6):
        await call(log.error(f"record {n}"))
        print(n, flush=True)
        if n % 3 == 1: hydra.flush()
"""
    + STYLED
)
HEIR = "hydra.flush()\n"
STEPS = {
    "write": "write,writev,pwrite64",
    "link": "link,linkat,rename,renameat2",
    "unlink": "unlink,unlinkat",
    "sync": "fdatasync,fsync",
    "allocate": "fallocate,ftruncate",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_its_nth_system_call(tmp_path, step, style, long):
    """
    Killed at its n-th write, link, removal or sync, and its heir as well: every ERROR whose call
    returned is in the log after the next start, once.
    """
    deaths = 0
    for n in range(1, 9 if long else 3):
        directory = tmp_path / str(n)
        directory.mkdir()
        world = World(directory)
        ends = [
            world.traced(source, style, calls=STEPS[step], inject=f"signal=SIGKILL:when={n}")
            for source in (LIFE, HEIR)
        ]
        deaths += sum(ended.status == -signal.SIGKILL for ended in ends)
        assert all(ended.status in {0, -signal.SIGKILL} for ended in ends)
        assert ["", ""] == [ended.stderr for ended in ends]
        world.recover()
        messages = world.messages()

        assert set() == {f"record {k}" for k in ends[0].stdout.split()} - set(messages), n
        assert len(messages) == len(set(messages)), n
        assert [] == world.twice(), n
        assert [] == world.directories(), n
    assert deaths


REFUSED = (
    """
async def scenario(call):
    for n in range(12):
        await call(log.info("ordinary") if n % 4 else log.error("grave"))
        stats = hydra.flush()
        assert stats.balanced and not stats.dropped, stats
"""
    + STYLED
    + """
stats = hydra.close()
failed = sum(tier.failed for tier in stats.destinations["app"].tiers)
print(stats.balanced, stats.delivered + stats.pending, stats.dropped, failed > 0)
"""
)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT", "EROFS"])
def test_writes_that_are_refused_for_a_while(tmp_path, error, style):
    """
    While its file refuses to be written to, a program is not disturbed; in the end, after the next
    start at the latest, the file has each record once.
    """
    world = World(tmp_path)
    world.path.touch(0o600)
    ended = world.traced(
        REFUSED, style, calls="write", inject=f"error={error}:when=3..5", path=world.path
    )
    before = len(world.records())
    world.recover()

    assert ("True 12 0 True\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert 12 >= before
    assert 12 == len(world.records())
    assert [] == world.twice()
    assert [] == world.directories()


SYNCED = (
    """
async def scenario(call):
    answers = []
    for n in range(4):
        receipt = await call(log.critical(f"record {n}"))
        answers.append(receipt.durability.value)
        hydra.flush()
    print(*answers)
"""
    + STYLED
)


def test_disk_that_cannot_be_forced(tmp_path, style):
    """
    What fdatasync refused is never told to be on the disk, and every record is delivered all
    the same; the failed segment is not synced again.
    """
    world = World(tmp_path)
    ended = world.traced(SYNCED, style, calls="fdatasync", inject="error=EIO")

    assert (0, "") == (ended.status, ended.stderr)
    assert not {"D"} & set(ended.stdout.split())
    assert [f"record {n}" for n in range(4)] == world.messages()
    world.recover()

    assert [f"record {n}" for n in range(4)] == world.messages()
    assert [] == world.directories()


STALLED = """
import asyncio, json, time
async def main():
    worst, over = [0.0, 0.0], asyncio.Event()
    async def beat(slot):
        while not over.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            worst[slot] = max(worst[slot], time.perf_counter() - began - 0.005)
    for slot in range(2):
        over.clear()
        beating = asyncio.create_task(beat(slot))
        for n in range(40):
            if slot: await getattr(log, ("info", "error")[n % 2])("one", n=n)
            await asyncio.sleep(0.01)
        over.set()
        await beating
    return worst
worst = asyncio.run(main())
began = time.perf_counter()
log.critical("last").wait(5)
print(json.dumps([*worst, time.perf_counter() - began]))
"""


@pytest.mark.parametrize(
    ("calls", "of_file", "waited"),
    [("write", True, 0.5), ("fdatasync,fsync", False, 0.25)],
    ids=["write", "sync"],
)
def test_disk_that_takes_half_a_second(tmp_path, calls, of_file, waited):
    """
    However long the disk takes for a write or a sync, the application's loop is not held up.
    """
    world = World(tmp_path)
    world.path.touch(0o600)
    ended = world.traced(
        STALLED, calls=calls, inject="delay_enter=500000", path=world.path if of_file else None
    )
    assert (0, "") == (ended.status, ended.stderr)
    without, logging, last = json.loads(ended.stdout)
    print("worst stall of the loop:", without, logging)

    # Whoever waits for the disk sees it; a loop that did would show the half second.
    assert waited <= last
    assert 0.25 > logging - without
    assert 41 == len(world.records())
