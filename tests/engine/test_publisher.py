"""
The publisher: statistics in a file, for whoever looks from outside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading

import pytest

import hydra
from fallbacks.testing import FakeClock, FaultyFilesystem
from hydra.engine import ENGINE
from hydra.engine._publisher import Publisher
from hydra.metrics import JournalStats, Stats
from hydra.metrics._live import decode

pytestmark = pytest.mark.unit

DIRECTORY = "/state/shop/live"


def publisher(system, run="a" * 12, read=Stats) -> Publisher:
    """Return a publisher without a thread."""
    system.makedirs("/state/shop")
    return Publisher(
        DIRECTORY,
        app="shop",
        run=run,
        read=read,
        system=system,
        clock=FakeClock(),
        threaded=False,
    )


def test_reading_of_what_is_no_text():
    """A path or an error with a lone surrogate is told with an escape in its place."""
    system = FaultyFilesystem()
    stats = Stats(
        drops={("info", "\udcff"): 1}, journal=JournalStats(state="on", directory="/state/\udcff")
    )
    source = publisher(system, read=lambda: stats)
    source.publish()
    told = decode(system.read(source.path)).stats

    assert "/state/\\udcff" == told.journal.directory
    assert {("info", "\\udcff"): 1} == told.drops


def test_reading_is_private_and_whole():
    """A reading is what the process says, in a file that only its user may read."""
    fs = FaultyFilesystem()
    made = publisher(fs, read=lambda: Stats(accepted=3, drops={("info", "quota"): 2}))
    made.publish()
    reading = decode(fs.read(made.path))

    assert ("shop", 100, "on") == (reading.app, reading.pid, made.state)
    assert (3, {("info", "quota"): 2}) == (reading.stats.accepted, reading.stats.drops)
    assert 0o600 == fs.stat(made.path).st_mode & 0o777


def test_close_leaves_nothing():
    """After the close there is no file and no descriptor, and nothing is published any more."""
    fs = FaultyFilesystem()
    made = publisher(fs)
    made.publish()
    made.publish()
    made.close()
    made.close()
    made.publish()

    assert ([], 0) == (fs.files(), fs.descriptors())


def test_dead_are_swept_and_the_living_are_not():
    """The first reading removes what dead processes left, hidden files too, and nothing else."""
    fs = FaultyFilesystem()
    living, dead = publisher(fs.process(1), "b" * 12), publisher(fs.process(2), "c" * 12)
    living.publish()
    dead.publish()
    fs.put(f"{DIRECTORY}/.{'d' * 12}.live")
    fs.put(f"{DIRECTORY}/notes.txt")
    fs.kill(2)
    made = publisher(fs)
    made.publish()

    assert sorted([made.path, living.path, f"{DIRECTORY}/notes.txt"]) == fs.files()


@pytest.mark.parametrize("times", [1, None])
def test_every_call_fails(times):
    """Whatever call fails, once or for ever: nothing is raised or left open, the state says it."""
    n = 0
    while True:
        n += 1
        fs = FaultyFilesystem()
        made = publisher(fs)
        publisher(fs.process(2), "c" * 12).publish()
        fs.kill(2)
        fs.fail("*", errno.EIO, when=n, times=times)
        before = fs.operations
        made.publish()
        struck = fs.operations - before >= n
        assert not struck or made.state.startswith("OSError") or made.state == "on"
        fs.heal()
        made.publish()
        assert "on" == made.state
        assert decode(fs.read(made.path)) is not None
        made.close()

        assert ([], 0) == (fs.files(), fs.descriptors()), n
        if not struck:
            break
    assert n > 8


def test_readers_never_see_half_of_it():
    """A process killed at any call leaves a whole reading under the name, or none."""
    for n in range(1, 12):
        fs = FaultyFilesystem()
        process = fs.process(7)
        made = publisher(process)
        made.publish()
        process.kill_at(n, torn=20)
        with pytest.raises(BaseException):  # noqa: B017 - Killed is no Exception.
            for _ in range(3):
                made.publish()

        assert decode(fs.read(made.path)) is not None


def test_someone_looks_at_the_hidden_file():
    """While another process has the lock nothing unlocked gets the name; the next round does."""
    fs = FaultyFilesystem()
    made = publisher(fs)
    made.publish()
    made._fd, mine = -1, made._fd
    other = fs.process(2)
    fs.put(made._hidden)
    held = other.open(made._hidden, os.O_RDONLY)
    assert other.lock(held)
    made.publish()
    assert "another process" in made.state
    other.close(held)
    made.publish()

    assert "on" == made.state
    fs.close(mine)
    made.close()


@pytest.fixture
def configure(tmp_path):
    """Return a function that configures one file destination in *tmp_path*."""

    def run(**more):
        hydra.configure(
            app="shop",
            state_dir=str(tmp_path / "state"),
            destinations=[{"name": "app", "path": str(tmp_path / "app.log")}],
            **more,
        )

    return run


def test_off_costs_nothing(configure, tmp_path):
    """Without the option there is no publisher, no thread and no file."""
    configure()

    assert ENGINE.run.publisher is None
    assert "off" == hydra.stats().live
    assert not (tmp_path / "state" / "shop" / "live").exists()


def test_environment_switches_it_on(configure, monkeypatch):
    """HYDRA_LIVE_STATS=1 is the option."""
    monkeypatch.setenv("HYDRA_LIVE_STATS", "1")
    configure()

    assert ENGINE.run.publisher is not None
    hydra.close()


def test_no_state_directory(configure, monkeypatch):
    """With nowhere to publish there is one warning, and the statistics say why."""
    monkeypatch.setattr(
        "hydra.engine._build.state_directory",
        lambda *_, **__: type("None", (), {"path": None, "reason": "none"})(),
    )
    with pytest.warns(hydra.HydraWarning, match="nothing is published"):
        configure(live_stats=True, journal={"enabled": False})

    assert "no usable state directory" == hydra.stats().live


def test_close_during_a_write_that_hangs(configure, tmp_path, monkeypatch):
    """The close does not wait for a disk that hangs; the write removes its file when it is over."""
    entered, go = threading.Event(), threading.Event()
    configure(live_stats=True)
    made = ENGINE.run.publisher
    inner = made._write

    def write():
        entered.set()
        assert go.wait(30)
        inner()

    made._write = write
    made._bell.ring()
    assert entered.wait(30)
    hydra.close(1.0)
    go.set()
    with made._writing:
        pass

    assert not os.path.exists(made.path)


def test_fork_takes_no_lock_along(configure, tmp_path):
    """A forked child does not keep its parent's lock: the parent's death is seen."""
    configure(live_stats=True)
    made = ENGINE.run.publisher
    made.publish()
    # No further reading: its lock would be one that the child has never had.
    made._write = lambda: None
    ready, ended = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(ended[1])
        os.write(ready[1], b"x")
        os.read(ended[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    made.park()
    made._closed = True
    made.abandon()
    fd = os.open(made.path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for each in (fd, *ready, ended[0]):
        os.close(each)
    os.close(ended[1])
    os.waitpid(child, 0)
    os.unlink(made.path)
