"""
Where the process tells the engine that it forks, ends, or is told to end.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from hydra.engine import ENGINE, _hooks
from tests.faults.programs import World

pytestmark = pytest.mark.integration


@pytest.fixture
def open_files(tmp_path):
    """Return a function that opens a file in tmp_path; what is still open at the end is closed."""
    opened = []

    def make(name):
        opened.append(os.open(tmp_path / name, os.O_RDWR | os.O_CREAT))
        return opened[-1]

    yield make
    for fd in opened:
        try:
            os.close(fd)
        except OSError:
            """The test was about this."""


def _is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_locked_files_are_closed_and_no_others(tmp_path, open_files):
    """
    Of all descriptors only those of our own locked files are closed, named or not.
    """
    ours = [open_files("a.j"), open_files(".b.j"), open_files("app.run-1.held")]
    gone = open_files("gone.j")
    os.unlink(tmp_path / "gone.j")
    others = [open_files("app.log"), open_files("notes.txt"), open_files("a.jpeg")]
    _hooks.close_inherited((f"{tmp_path}/",))

    assert [False] * 4 == [_is_open(fd) for fd in [*ours, gone]]
    assert [True] * 3 == [_is_open(fd) for fd in others]


def test_system_that_does_not_tell_what_is_open(tmp_path, open_files, monkeypatch):
    """
    Without /proc nothing is closed and nothing is raised.
    """
    fd = open_files("a.j")

    def refuse(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", refuse)
    _hooks.close_inherited((f"{tmp_path}/",))

    assert _is_open(fd)


def test_segment_in_the_making_at_a_fork(tmp_path):
    """
    A lock that a thread had just taken when the process forked is not inherited.
    """
    world = World(tmp_path)
    ended = world.run("""
    import threading
    from fallbacks.system import SYSTEM
    made, go = threading.Event(), threading.Event()
    lock = type(SYSTEM).lock
    def slow(self, fd):
        locked = lock(self, fd)
        made.set(); go.wait(10)
        return locked
    type(SYSTEM).lock = slow
    thread = threading.Thread(target=log.error, args=("parent",))
    thread.start(); made.wait()
    pid = os.fork()
    if not pid:
        links = []
        for fd in os.listdir("/proc/self/fd"):
            try: links.append(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError: pass
        print([link for link in links if link.endswith(".j")], flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    go.set(); thread.join()
    """)

    assert ("[]\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["parent"] == world.messages()
    assert [] == world.directories()


def test_files_known_to_a_run(tmp_path):
    """
    A run says how the paths of its locked files begin, those in the making too.
    """
    import hydra

    path = str(tmp_path / "app.log")
    hydra.configure(
        app="shop",
        state_dir=str(tmp_path / "state"),
        destinations=[
            {
                "name": "app",
                "type": "file",
                "path": path,
                "fallback": [{"type": "file", "path": str(tmp_path / "extra")}],
            }
        ],
    )
    prefixes = ENGINE.current().prefixes

    assert str(tmp_path / "state/shop/journal") + "/" in prefixes
    assert {str(tmp_path / "extra"), str(tmp_path / ".extra")} <= set(prefixes)
    assert not path.startswith(prefixes)


def test_hooks_are_registered_once(tmp_path):
    """
    Configuring again registers nothing again, and handlers are put in front of the former once.
    """
    world = World(tmp_path)
    ended = world.run(f"""
    import atexit, signal
    before = atexit._ncallbacks()
    def mine(number, frame): print("mine"); sys.exit(4)
    signal.signal(signal.SIGTERM, mine)
    for n in range(3):
        hydra.configure(app="shop", signals=True, state_dir={str(world.state)!r},
                        destinations=[{{"name": "app", "type": "file",
                                        "path": {str(world.path)!r}}}])
        log.error(str(n))
    print(atexit._ncallbacks() - before, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    """)

    assert ("0\nmine\n", "", 4) == (ended.stdout, ended.stderr, ended.status)
    assert ["0", "1", "2"] == world.messages()


def test_at_exit_of_a_stranger(tmp_path):
    """
    The hook of a process that never logged, or of a child that has not yet, does nothing.
    """
    world = World(tmp_path)
    ended = world.run("""
    log.error("parent")
    pid = os.fork()
    if not pid: sys.exit(0)
    print(os.waitpid(pid, 0)[1])
    """)

    assert ("0\n", "", 0) == (ended.stdout, ended.stderr, ended.status)
    assert ["parent"] == world.messages()
    assert [] == world.directories()


def test_import_registers_and_starts_nothing_else(tmp_path):
    """
    Importing installs no handler, starts no thread and forks as before.
    """
    world = World(tmp_path)
    ended = world.run(
        """
        import signal, threading, os, atexit
        numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
        handlers = [signal.getsignal(n) for n in numbers]
        before = atexit._ncallbacks()
        import hydra
        print(handlers == [signal.getsignal(n) for n in numbers])
        native = len(os.listdir("/proc/self/task"))
        print(threading.active_count(), native, atexit._ncallbacks() - before)
        """,
        start=False,
    )

    assert ("True\n1 1 0\n", "") == (ended.stdout, ended.stderr)


def test_lock_falls_with_its_owner(tmp_path):
    """
    What the whole design of adoption rests on: the kernel drops the lock of a killed process.
    """
    path = tmp_path / "lock"
    source = (
        "import fcntl, os, sys, time; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT);"
        "fcntl.flock(fd, fcntl.LOCK_EX); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", source, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        fd = os.open(path, os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)


def test_former_run_is_waited_for_at_exit(tmp_path):
    """
    A run whose last writer is just letting go of its files is not cut short by the exit.
    """
    world = World(tmp_path)
    ended = world.run(f"""
    import time
    from hydra.engine import _keeper
    close = _keeper.Keeper.close
    delays = [0.8]
    def slow(self):
        # The first only: the others must not give it the time.
        if delays: time.sleep(delays.pop())
        close(self)
    _keeper.Keeper.close = slow
    log.error("former")
    hydra.flush()
    for name in ("second", "third"):
        hydra.configure(app="shop", state_dir={str(world.state)!r},
                        destinations=[{{"name": "app", "type": "file",
                                        "path": {str(world.path)!r}}}])
        time.sleep(0.05)
        log.error(name)
    """)

    assert (0, "") == (ended.status, ended.stderr)
    assert ["former", "second", "third"] == world.messages()
    assert [] == world.directories()
