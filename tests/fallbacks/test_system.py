"""
The system seam: the real calls, their portable twin and the faulty one agree.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallbacks._portable import PortableSystem
from fallbacks.system import (
    SYSTEM,
    PosixSystem,
    System,
    ends_with_newline,
    is_private,
    lock_in_place,
    open_append,
    publish,
    unlink_if_there,
    write_all,
)
from fallbacks.testing.faulty_filesystem import FaultyFilesystem

pytestmark = pytest.mark.unit


@pytest.fixture(params=["posix", "portable", "faulty"])
def system(request: pytest.FixtureRequest) -> System:
    """Return each of the three systems in turn."""
    made: dict[str, System] = {
        "posix": PosixSystem(),
        "portable": PortableSystem(),
        "faulty": FaultyFilesystem(),
    }
    return made[request.param]


@pytest.fixture
def base(system: System, tmp_path: Path) -> Iterator[str]:
    """Return an empty directory, under a strict umask."""
    path = str(tmp_path / "base")
    system.makedirs(path)
    old = os.umask(0o077)
    yield path
    os.umask(old)


def test_the_machine_has_posix_calls() -> None:
    """Here the real calls are the POSIX ones."""
    assert isinstance(SYSTEM, PosixSystem)
    assert all((SYSTEM.boot_id(), SYSTEM.pid_namespace(), int(SYSTEM.process_start())))


def test_new_file_has_the_exact_mode(system: System, base: str) -> None:
    """The umask does not touch a new file's mode; an old file keeps its own."""
    path = f"{base}/a/b/log"
    fd = open_append(system, path, 0o644)
    system.close(fd)
    system.close(open_append(system, path, 0o600))
    modes = [system.stat(p).st_mode & 0o777 for p in (path, f"{base}/a/b", f"{base}/a")]

    assert [0o644, 0o700, 0o700] == modes


def test_missing_parents_can_be_wanted(system: System, base: str) -> None:
    """Without `create_parents` a missing directory is an error."""
    with pytest.raises(FileNotFoundError):
        open_append(system, f"{base}/x/log", create_parents=False)


def test_appends_go_to_the_end(system: System, base: str) -> None:
    """Two descriptors never overwrite each other."""
    path = f"{base}/log"
    one, two = open_append(system, path), open_append(system, path)
    answers = [write_all(system, one, b"a\n"), write_all(system, two, b"b\n")]
    write_all(system, one, b"c")
    size = system.fstat(one).st_size
    reader = system.open(path, os.O_RDONLY)

    assert [(2, None), (2, None)] == answers
    assert b"b\nc" == system.pread(reader, 100, 2)
    assert (True, False, True, False) == (
        ends_with_newline(system, reader, 2),
        ends_with_newline(system, reader, size),
        ends_with_newline(system, path, 0),
        ends_with_newline(system, path, size),
    )
    for fd in (one, two, reader):
        system.close(fd)


@pytest.mark.parametrize("kind", ["a FIFO", "a symbolic link", "a directory"])
def test_only_regular_files_are_opened(system: System, base: str, kind: str) -> None:
    """What is there instead is named, and nothing blocks."""
    path = f"{base}/log"
    if isinstance(system, FaultyFilesystem):
        {"a FIFO": system.mkfifo, "a directory": system.makedirs}.get(
            kind, lambda p: system.symlink("x", p)
        )(path)
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a directory":
        os.mkdir(path)
    else:
        os.symlink("x", path)

    with pytest.raises(OSError, match=f"not a regular file but {kind}"):
        open_append(system, path)


def test_device_is_refused_and_closed() -> None:
    """A device opens, is recognised and closed again."""
    fs = FaultyFilesystem()
    fs.mkdevice("/null")
    with pytest.raises(OSError, match="a character device"):
        open_append(fs, "/null")

    assert 0 == fs.descriptors()


def test_lock_is_exclusive_and_falls_with_its_descriptor(system: System, base: str) -> None:
    """A second descriptor does not get the lock until the first is closed."""
    path = f"{base}/log"
    one, two = open_append(system, path), open_append(system, path)
    taken = [system.lock(one), system.lock(two), system.lock(one)]
    system.rename(path, f"{base}/new")
    moved = system.lock(two)
    system.close(one)
    after = system.lock(two)
    here, gone = lock_in_place(system, two, f"{base}/new"), lock_in_place(system, two, path)
    system.close(two)

    assert [True, False, True] == taken
    assert (False, True, True, False) == (moved, after, here, gone)
    assert ["new"] == system.listdir(base)


def test_publish_never_replaces(system: System, base: str) -> None:
    """The name is given once; a second file does not get it."""
    for name in ("a", "b"):
        system.close(open_append(system, f"{base}/{name}"))
    publish(system, f"{base}/a", f"{base}/final")
    with pytest.raises(FileExistsError):
        publish(system, f"{base}/b", f"{base}/final")
    unlink_if_there(system, f"{base}/b")
    unlink_if_there(system, f"{base}/b")

    assert ["final"] == system.listdir(base)


def test_publish_without_links_renames() -> None:
    """Where a file cannot have two names it is renamed, still never over another."""
    fs = FaultyFilesystem()
    fs.fail("link", errno.EPERM, times=None)
    fs.put("/a")
    fs.put("/b")
    publish(fs, "/a", "/final")
    with pytest.raises(FileExistsError):
        publish(fs, "/b", "/final")

    assert ["/b", "/final"] == fs.files()


def test_makedirs_over_a_file_fails(system: System, base: str) -> None:
    """A file where a directory is needed is an error, not ignored."""
    system.close(open_append(system, f"{base}/file"))
    with pytest.raises(NotADirectoryError):
        system.makedirs(f"{base}/file")


def test_the_rest_answers(system: System, base: str) -> None:
    """Calls without a story of their own do what they say."""
    fd = open_append(system, f"{base}/log")
    write_all(system, fd, b"12345")
    system.truncate(fd, 3)
    system.fdatasync(fd)
    system.sync_directory(base)
    facts = system.fstat(fd)

    assert (3, 1, True) == (facts.st_size, facts.st_nlink, stat.S_ISREG(facts.st_mode))
    assert (True, True) == (system.wait_writable(fd, 0), is_private(system, base))
    system.close(fd)


@pytest.mark.parametrize("system", ["posix", "faulty"], indirect=True)
def test_mapping_shares_the_file(system: System, base: str) -> None:
    """What is written to a mapping is in the file; what does not fit is refused whole."""
    fd = system.open(f"{base}/map", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    system.allocate(fd, 16)
    with pytest.raises(OSError):
        system.map(fd, 1 << 20)
    mapping = system.map(fd, 16)
    mapping.write(b"0123456789")
    with pytest.raises(ValueError, match="range"):
        mapping.write(b"0123456789")

    assert (10, b"345") == (mapping.tell(), mapping.read(3, 6))
    assert b"0123456789" + bytes(6) == system.pread(fd, 100, 0)
    mapping.close()
    mapping.close()
    with pytest.raises(ValueError, match="closed"):
        mapping.write(b"x")
    system.close(fd)


def test_portable_twin_refuses_what_it_cannot() -> None:
    """No pretence: space and mappings are refused."""
    twin = PortableSystem()
    for call in (twin.allocate, twin.map):
        with pytest.raises(OSError):
            call(0, 1)


def test_portable_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    """A lock file whose owner is gone does not lock."""
    path = tmp_path / "log"
    path.touch()
    code = (
        "import os,sys; sys.path.insert(0, sys.argv[2])\n"
        "from fallbacks._portable import PortableSystem\n"
        "s = PortableSystem(); fd = s.open(sys.argv[1], os.O_RDWR); assert s.lock(fd); os._exit(0)"
    )
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", code, str(path), root], check=True)
    left = len(os.listdir(tmp_path))
    twin = PortableSystem()
    fd = twin.open(str(path), os.O_RDWR)
    taken = twin.lock(fd)
    twin.close(fd)

    assert (2, True, ["log"]) == (left, taken, os.listdir(tmp_path))


def test_write_that_takes_nothing_is_an_error() -> None:
    """A device that answers 0 for ever cannot hold the writer for ever."""

    class Stuck(PosixSystem):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            return 0

    written, error = write_all(Stuck(), 0, b"x")

    assert 0 == written
    assert isinstance(error, OSError)


def test_open_append_leaks_nothing_when_any_call_fails() -> None:
    """Every operation of it fails once; no descriptor stays open."""
    for n in range(1, 8):
        fs = FaultyFilesystem()
        fs.fail("*", errno.EIO, when=n)
        try:
            fs.close(open_append(fs, "/a/log"))
        except OSError:
            pass

        assert 0 == fs.descriptors()
