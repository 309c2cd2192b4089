"""
Workers of multiprocessing end by `os._exit`, and yet deliver what they logged.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.programs import PATIENCE, PROGRAMS, World, parsed

pytestmark = pytest.mark.faults

EXPECTED = sorted(["parent", *(f"{word} {n}" for n in range(4) for word in ("worker", "error"))])


@pytest.mark.parametrize("kind", ["process", "pool", "executor", "nested"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers(tmp_path, method, kind):
    """
    However workers are started, what they logged is in the file when they have ended.
    """
    world = World(tmp_path)
    done = subprocess.run(
        [sys.executable, PROGRAMS / "workers.py", method, kind, world.state, world.path],
        env=world.environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert ("[0, 0, 0, 0]\n", "", 0) == (done.stdout, done.stderr, done.returncode)
    assert EXPECTED == sorted(world.messages())
    assert [] == world.twice()
    assert [] == world.directories()


def test_forked_worker_closes_its_run(tmp_path):
    """
    The log of a worker can be audited to its end: it has a close record of its own.
    """
    world = World(tmp_path)
    world.run("""
    import multiprocessing
    log.info("parent")
    worker = multiprocessing.get_context("fork").Process(target=log.info, args=("worker",))
    worker.start(); worker.join()
    """)
    lines = parsed(world.lines())
    closed = {each["id"].split(".")[0] for each in lines if each.get("event") == "close"}

    assert 2 == len(closed)
    assert closed == {each["id"].split(".")[0] for each in lines}


def test_worker_that_is_terminated(tmp_path):
    """
    A worker killed by `terminate` has kept its ERROR for the next start.
    """
    world = World(tmp_path)
    ended = world.run("""
    import multiprocessing, time
    def work(ready):
        log.error("worker"); ready.set(); time.sleep(60)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=work, args=(ready,))
    worker.start(); ready.wait(); worker.terminate(); worker.join()
    print(worker.exitcode)
    """)
    world.recover()

    assert ("-15\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["worker"] == world.messages()
    assert [] == world.directories()


def test_multiprocessing_imported_by_the_child_only(tmp_path):
    """
    A process that was forked plainly and then becomes a parent of workers loses nothing.
    """
    world = World(tmp_path)
    ended = world.run("""
    pid = os.fork()
    if not pid:
        import multiprocessing
        log.info("child")
        worker = multiprocessing.get_context("fork").Process(target=log.info, args=("worker",))
        worker.start(); worker.join()
        sys.exit(worker.exitcode)
    print(os.waitpid(pid, 0)[1])
    """)

    assert ("0\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["child", "worker"] == sorted(world.messages())


def test_worker_raises(tmp_path):
    """
    A worker that fails with an exception has delivered what it logged before.
    """
    world = World(tmp_path)
    ended = world.run("""
    import multiprocessing
    def work():
        log.info("worker"); raise SystemExit(5)
    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start(); worker.join()
    print(worker.exitcode)
    """)

    assert ("5\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["worker"] == world.messages()
    assert [] == world.directories()
