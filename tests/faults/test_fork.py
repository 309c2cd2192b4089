"""
A process forks, while it logs or not.
"""

from __future__ import annotations

import textwrap
from collections import Counter

import pytest

from tests.faults import _rounds
from tests.faults.programs import PATIENCE, World, parsed

pytestmark = pytest.mark.faults

FORKS = 100


@pytest.mark.timeout(90)
def test_forked_a_hundred_times_while_eight_threads_log(tmp_path):
    """
    No child hangs, none inherits a lock, and every record is in the file once.
    """
    found = _rounds.fork(World(tmp_path), FORKS, seconds=80)
    print(found)

    assert FORKS == found.forks
    assert found.flawless, found


def test_parent_has_a_backlog(tmp_path):
    """
    What is queued at a fork is delivered by the parent, and by nobody else; the child starts empty.
    """
    world = World(tmp_path)
    ended = world.run("""
    from hydra.engine import ENGINE
    service = ENGINE.current().services["app"]
    service.chain.ticket.acquire()
    for n in range(50): log.info(f"parent {n}")
    before = ENGINE.run.id
    pid = os.fork()
    if not pid:
        print(hydra.stats().accepted, ENGINE.run is None)
        log.info("child")
        print(hydra.stats().accepted, ENGINE.run.id != before, flush=True)
        sys.exit(0)
    print(os.waitpid(pid, 0)[1])
    service.chain.ticket.release()
    """)

    assert ("0 True\n1 True\n0\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["child", *(f"parent {n}" for n in range(50))] == world.messages()
    assert [] == world.directories()


def test_parent_dies_and_its_child_lives_on(tmp_path):
    """
    The dead parent's journal and held files are free at once, although a child still runs.
    """
    world = World(tmp_path)
    process = world.popen("""
    from hydra.engine import ENGINE
    service = ENGINE.current().services["app"]
    service.chain.ticket.acquire()
    log.error("from the dead parent")
    store = service.writer.store
    from fallbacks.batch import Batch
    record = log.error("also held")._entry.line
    store.write(Batch([record]))
    pid = os.fork()
    if pid:
        os._exit(1)
    sys.stdin.read()
    log.error("from the child")
    """)
    try:
        process.wait(PATIENCE)
        world.recover()

        assert ["also held", "from the dead parent"] == sorted(world.messages())
    finally:
        out, err = process.communicate(timeout=PATIENCE)

    assert ("", "") == (out, err)
    assert "from the child" == world.messages()[-1]
    assert [] == world.twice()
    assert [] == world.directories()


def test_nested_forks(tmp_path):
    """
    A grandchild has a run of its own as well.
    """
    world = World(tmp_path)
    ended = world.run("""
    log.error("0")
    for depth in range(1, 5):
        pid = os.fork()
        if pid:
            assert not os.waitpid(pid, 0)[1]
            break
        log.error(str(depth))
    log.info(f"end of {os.getpid()}")
    """)
    runs = {each["id"].split(".")[0] for each in parsed(world.lines())}

    assert (0, "") == (ended.status, ended.stderr)
    assert [str(n) for n in range(5)] == sorted(m for m in world.messages() if len(m) == 1)
    assert 5 == sum(m.startswith("end of") for m in world.messages())
    assert 5 == len(runs)
    assert [] == world.directories()


def test_child_that_python_did_not_fork(tmp_path):
    """
    After a fork behind Python's back, an ERROR finds out and starts a run of the child's own.
    """
    world = World(tmp_path)
    ended = world.run("""
    from tests.faults.programs.raw_fork import raw_fork
    log.error("parent")
    hydra.flush()
    pid = raw_fork()
    if not pid:
        log.error("child")
        hydra.close()
        os._exit(0)
    print(os.waitpid(pid, 0)[1])
    """)

    assert ("0\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["parent", "child"] == world.messages()
    assert 2 == len({each["id"].split(".")[0] for each in parsed(world.lines())})


def test_child_killed_after_its_error(tmp_path):
    """
    An ERROR of a child that dies at once is kept in the child's own journal.
    """
    world = World(tmp_path)
    world.run("""
    import signal
    log.error("parent")
    pid = os.fork()
    if not pid:
        log.error("child")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    """)
    world.recover()

    assert ["child", "parent"] == sorted(world.messages())
    assert [] == world.twice()
    assert [] == world.directories()


def test_fork_during_a_call_of_a_slow_sink(tmp_path):
    """
    A writer that is stuck in its sink delays a fork by a moment only, and is the parent's alone.
    """
    world = World(tmp_path)
    ended = world.run(
        f"""
    import os, sys, threading, time, hydra
    go = threading.Event()
    inside = threading.Event()
    def sink(lines):
        inside.set()
        go.wait(20)
        with open({str(world.path)!r}, "ab") as file: file.writelines(lines)
    hydra.configure(app="shop", state_dir={str(world.state)!r},
                    destinations=[{{"name": "slow", "type": "sink", "sink": sink}}])
    log = hydra.get_logger("shop")
    log.info("one"); inside.wait()
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        go.set()
        log.info("two")
        sys.exit(0)
    print(time.perf_counter() - began < 1.0)
    print(os.waitpid(pid, 0)[1])
    go.set()
    """,
        start=False,
    )

    assert ("True\n0\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["one", "two"] == sorted(world.messages())


@pytest.mark.parametrize(
    "how",
    [
        "import subprocess; subprocess.run(['/bin/true'], check=True)",
        "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
        "os.system('/bin/true')",
        "import subprocess as s; s.run(['/bin/true'], preexec_fn=lambda: log.error('in between'))",
    ],
    ids=["subprocess", "posix_spawn", "system", "preexec_fn"],
)
def test_process_that_starts_programs(tmp_path, how):
    """
    Starting another program disturbs nothing, even when the child logs before it becomes one.
    """
    world = World(tmp_path)
    ended = world.run(f"log.error('before'); {how}; log.error('after')")
    world.recover()

    assert (0, "") == (ended.status, ended.stderr)
    assert ["after", "before"] == sorted(set(world.messages()) - {"in between"})
    assert ("in between" in world.messages()) == ("in between" in how)
    assert [] == world.twice()
    assert [] == world.directories()


def test_no_warning_when_idle(tmp_path):
    """
    Idle writers are no threads at a fork: Python 3.12 and later count them there, and warn.
    """
    world = World(tmp_path)
    # What is registered first is called last, behind hydra.
    count = """
    import os
    threads = []
    os.register_at_fork(before=lambda: threads.append(len(os.listdir("/proc/self/task"))))
    """
    body = """
    log.error("parent"); log.critical("parent too"); hydra.flush()
    for fork in range(5):
        pid = os.fork()
        if not pid:
            log.error("child"); hydra.flush()
            sys.exit(0)
        assert not os.waitpid(pid, 0)[1]
        log.error("parent again"); hydra.flush()
    print(threads)
    """
    text = textwrap.dedent(count) + world.start + textwrap.dedent(body)
    ended = world.run(text, start=False)

    assert (0, "", "[1, 1, 1, 1, 1]") == (ended.status, ended.stderr, ended.stdout.strip())
    assert 12 == len(world.messages())
    assert [] == world.directories()


def test_fork_in_a_signal_handler_while_logging(tmp_path):
    """
    A fork in the middle of a logging call neither hangs nor doubles a record.
    """
    world = World(tmp_path)
    ended = world.run("""
    import signal
    import itertools
    children, numbers = [], itertools.count()
    def fork(number, frame):
        # One that interrupts another has a number of its own.
        mine = next(numbers)
        pid = os.fork()
        if not pid:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            log.error(f"child {mine}")
            hydra.close()
            os._exit(0)
        children.append(pid)
    signal.signal(signal.SIGALRM, fork)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    n = 0
    while len(children) < 20:
        n += 1
        (log.error if n % 5 == 0 else log.info)(f"{n}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    # A signal that is still to be handled may add one more while these are waited for.
    ends = [os.waitpid(pid, 0)[1] for pid in children]
    print(n, len(children), ends.count(0))
    """)
    assert (0, "") == (ended.status, ended.stderr)
    n, forks, ends = map(int, ended.stdout.split())
    expected = [str(k) for k in range(1, n + 1)] + [f"child {k}" for k in range(forks)]

    assert forks == ends >= 20
    assert Counter(expected) == Counter(world.messages())
    assert [] == world.twice()
