"""
What may stand at the path of a log file, or happen to the directory around it.
"""

from __future__ import annotations

import os
import shutil
import textwrap

import pytest

import hydra
from tests.sinks._kit import held_files, numbers, of, read, run_program, until

pytestmark = pytest.mark.faults


def fifo(path, tmp_path):
    """Put a pipe there that nobody reads."""
    os.mkfifo(path)


def link(path, tmp_path):
    """Put a link to a file of somebody else's there."""
    (tmp_path / "victim").write_bytes(b"precious\n")
    path.symlink_to(tmp_path / "victim")


def dangling(path, tmp_path):
    """Put a link to nothing there."""
    path.symlink_to(tmp_path / "nowhere")


def directory(path, tmp_path):
    """Put a directory there."""
    path.mkdir(exist_ok=True)


def device(path, tmp_path):
    """Put the device of /dev/null there."""
    try:
        os.mknod(path, 0o20666, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"no device can be made: {error}")


def parent_is_a_file(path, tmp_path):
    """Put a file where the directory should be."""
    path.parent.rmdir()
    path.parent.write_bytes(b"")


PLANTED = (fifo, link, dangling, directory, device, parent_is_a_file)


def clear(path, tmp_path):
    """Take away what was planted."""
    if path.parent.is_file():
        path.parent.unlink()
        path.parent.mkdir(exist_ok=True)
    elif path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


@pytest.fixture(params=["thread", "loop"])
def configured(request, tmp_path):
    """Give a maker of the destination, with its path."""
    (tmp_path / "logs").mkdir(exist_ok=True)
    path = tmp_path / "logs" / "app.log"

    def make():
        hydra.configure(
            app="t",
            destinations=[
                {
                    "name": "app",
                    "type": "file",
                    "path": str(path),
                    "retries": 0,
                    "writer": request.param,
                }
            ],
        )
        return hydra.get_logger("shop")

    make.path = path
    return make


@pytest.mark.parametrize("plant", PLANTED)
def test_what_is_no_log_file_is_not_written_to(plant, configured, tmp_path):
    """
    Lines for a path that is no regular file are held; nothing hangs, nothing behind the path is
    touched, and when the way is free the file has every line.
    """
    path = configured.path
    plant(path, tmp_path)
    log = configured()
    for n in range(30):
        log.info("ordinary", n=n)
    settlement = log.error("grave", n=30).wait(5)

    assert settlement.delivered
    assert hydra.flush(5).balanced
    assert 31 == of("app").held
    if plant is link:
        assert b"precious\n" == (tmp_path / "victim").read_bytes()
    assert not (tmp_path / "nowhere").exists()

    clear(path, tmp_path)
    hydra.flush(5)
    until(lambda: of("app").delivered == 31, "the held records are replayed")
    until(lambda: held_files() == [], "the held file is gone")

    assert list(range(31)) == numbers(read(path))
    assert hydra.close().balanced


@pytest.mark.parametrize("happening", ["directory removed", "file removed", "file replaced"])
def test_log_that_is_taken_away_is_made_again(happening, configured, tmp_path):
    """Whoever removes or replaces the file, or all that is around it, needs to tell nobody."""
    path = configured.path
    log = configured()
    log.info("before", n=0)
    hydra.flush(5)
    if happening == "directory removed":
        shutil.rmtree(path.parent)
    elif happening == "file removed":
        path.unlink()
    else:
        (tmp_path / "other").write_bytes(b'{"other":1}\n')
        os.replace(tmp_path / "other", path)
    log.info("after", n=1)
    stats = hydra.flush(5)

    assert stats.balanced
    assert (2, 0) == (stats.delivered, stats.held)
    assert [1] == numbers(read(path))


def test_plant_while_logging(configured, tmp_path):
    """A link put in place of an open log is not followed; afterwards the log goes on."""
    path = configured.path
    log = configured()
    log.info("before", n=0)
    hydra.flush(5)
    path.unlink()
    link(path, tmp_path)
    log.info("meanwhile", n=1)
    assert 1 == hydra.flush(5).held
    path.unlink()
    log.info("after", n=2)
    hydra.flush(5)
    until(lambda: of("app").delivered == 3, "the held record is replayed")

    assert [1, 2] == sorted(numbers(read(path)))
    assert b"precious\n" == (tmp_path / "victim").read_bytes()


def test_no_descriptor_left():
    """
    Without descriptors the open log is written on, a rotation waits, and nothing is lost.
    """
    source = """
        import os, resource, sys
        import hydra
        path = sys.argv[1]
        hydra.configure(app="t", queue={"block_timeout": 0.2}, destinations=[
            {"name": "app", "type": "file", "path": path, "retries": 0}])
        log = hydra.get_logger("shop")
        log.error("before", n=0)
        hydra.flush()
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        log.info("without", n=1)
        assert hydra.flush().balanced
        os.rename(path, path + ".1")
        log.error("rotated", n=2)
        stats = hydra.flush()
        assert stats.balanced and stats.delivered == 3, stats
        for fd in taken:
            os.close(fd)
        log.info("after", n=3)
        stats = hydra.close()
        assert stats.balanced and stats.dropped == 0 and stats.held == 0, stats
    """
    path = os.path.join(os.path.dirname(os.environ["HYDRA_STATE_DIR"]), "app.log")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    done = run_program(textwrap.dedent(source), path)

    assert (0, b"") == (done.returncode, done.stderr)
    assert [0, 1, 2] == numbers(read(path + ".1"))
    assert [3] == numbers(read(path))


@pytest.mark.parametrize(
    "options",
    [
        {"destinations": [{"path": "/logs/\ud800.log"}]},
        {"destinations": [{"path": "a.log", "fallback": [{"type": "file", "path": "\ud800"}]}]},
        {"journal": {"dir": "\ud800"}},
        {"state_dir": "\ud800"},
        {"file": "\ud800.toml"},
    ],
)
def test_path_that_cannot_be(options, tmp_path, monkeypatch):
    """A path that the file system cannot have is refused like any other wrong value."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hydra.ConfigurationError):
        hydra.configure(**options)


def test_path_that_is_no_text(tmp_path):
    """A path of bytes that are no UTF-8 serves for everything, and is told to whoever watches."""
    place = tmp_path / "\udcff"
    hydra.configure(
        app="t",
        state_dir=place,
        live_stats=True,
        destinations=[{"name": "app", "path": place / "\udcfe.log"}],
    )
    hydra.get_logger("shop").error("grave", n=0)
    assert hydra.flush(5).balanced
    until(lambda: list(place.glob("t/live/*.live")), "statistics for others")
    hydra.close()

    assert [0] == numbers(read(place / "\udcfe.log"))
