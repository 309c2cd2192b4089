"""
A fork made by C code, of which no hook of Python tells.

Rule: the child's first record, of whatever level, finds out: it goes to a run of
the child's own. What the parent had queued stays the parent's.
"""

from __future__ import annotations

import os

import pytest

from hydra.engine import _process
from tests.faults.programs import World, parsed

pytestmark = pytest.mark.integration

FORK = """
import ctypes
def fork():
    # Not CDLL, which lets go of the interpreter: another thread might have it at the fork.
    pid = ctypes.PyDLL(None).fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
    return pid
"""
# A sink that hangs in the parent, so that its writer is at work at the fork; the
# watchdog sleeps, for if a thread waits for the interpreter while C code forks, the
# child's interpreter may never be free again, whatever it runs.
BUSY = """
import threading
parent, gate, hangs = os.getpid(), threading.Event(), threading.Event()
fd = os.open({path!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
def sink(lines):
    if os.getpid() == parent and not gate.is_set():
        hangs.set()
        gate.wait()
    os.write(fd, b"".join(lines))
hydra.configure(app="shop", level="debug", state_dir={state!r},
    destinations=[{{"name": "app", "type": "sink", "sink": sink, "timeout": 60}}])
log.info("parent first")
hangs.wait()
for n in range(100):
    log.info(f"parent {{n}}")
"""
IDLE = """
gate = None
log.info("parent first")
hydra.flush()
"""
ASLEEP = """
import time
from hydra.engine import ENGINE
while ENGINE.run.watchdog.running or not (gate or ENGINE.run.services["app"].queue.idle):
    # Each time: a writer that wakes up once more has the watchdog stay.
    ENGINE.run.watchdog.leave()
    time.sleep(0.001)
# From being idle to being asleep it is a few bytecodes.
time.sleep(0.02)
"""
ENDS = {
    "close": "hydra.close(); os._exit(0)",
    "the end of the interpreter": "sys.exit(0)",
}


def program(world: World, before: str) -> str:
    """Return how a program starts whose writer is idle or busy at the fork."""
    busy = BUSY.format(path=str(world.path), state=str(world.state))
    return FORK + (busy if before == "busy" else IDLE) + ASLEEP


@pytest.mark.parametrize("before", ["idle", "busy"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("level", ["info", "error"])
def test_child_logs(tmp_path, before, end, level):
    """
    The child's records are there once, in a run of their own, and so are the parent's.
    """
    world = World(tmp_path)
    ended = world.run(
        program(world, before)
        + f"""
if not fork():
    for n in range(5):
        log.{level}(f"child {{n}}")
    {ENDS[end]}
gate and gate.set()
log.info("parent last")
"""
    )
    messages = world.messages()
    of_child = [m for m in messages if m.startswith("child")]
    of_parent = [m for m in messages if m.startswith("parent")]

    assert (0, "") == (ended.status, ended.stderr)
    assert [f"child {n}" for n in range(5)] == of_child
    assert ("parent first", "parent last") == (of_parent[0], of_parent[-1])
    assert (102 if before == "busy" else 2) == len(of_parent)
    assert [] == world.twice()
    assert 2 == len({each["id"].partition(".")[0] for each in parsed(world.lines())})
    assert [] == world.left()


@pytest.mark.parametrize("before", ["idle", "busy"])
def test_child_that_logs_nothing(tmp_path, before):
    """A child that only flushes and closes writes nothing of its parent's."""
    world = World(tmp_path)
    ended = world.run(
        program(world, before)
        + """
if not fork():
    assert hydra.flush().accepted == 0
    assert hydra.close().accepted == 0
    os._exit(0)
gate and gate.set()
"""
    )

    assert (0, "") == (ended.status, ended.stderr)
    assert (101 if before == "busy" else 1) == len(world.messages())


def test_child_with_two_destinations_and_tracked_calls(tmp_path):
    """The slower ways of a call find out as well."""
    world = World(tmp_path)
    ended = world.run(
        FORK
        + f"""
paths = [{str(world.path)!r}, {str(world.path) + ".2"!r}]
hydra.configure(app="shop", level="debug", state_dir={str(world.state)!r}, destinations=[
    {{"name": f"d{{n}}", "type": "file", "path": path}} for n, path in enumerate(paths)])
log.info("parent")
hydra.flush()
import time; time.sleep(0.1)
if not fork():
    log.info("child")
    assert log.tracked().info("child").wait(10).delivered
    hydra.close()
    os._exit(0)
"""
    )
    second = (tmp_path / (world.path.name + ".2")).read_text()

    assert (0, "") == (ended.status, ended.stderr)
    assert ["child", "child", "parent"] == sorted(world.messages())
    assert 3 == second.count('"logger":"shop"')


def test_mark_where_memory_cannot_tell(monkeypatch):
    """Without a page that a fork wipes, the system is asked, with the same answer."""
    monkeypatch.setattr(_process, "_WIPE_ON_FORK", 12345)
    mark = _process.home()
    assert mark[0]
    monkeypatch.setattr(os, "getpid", lambda: 1)

    assert not mark[0]
