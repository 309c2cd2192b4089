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

from fallbacks import _portable
from fallbacks._portable import PortableSystem
from fallbacks.files import (
    ends_torn,
    ends_with_newline,
    is_private,
    kind_of,
    lock_in_place,
    open_append,
    publish,
    unlink_if_there,
    write_all,
)
from fallbacks.system import SYSTEM, PosixSystem, System
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


# What differs between systems, and what happens between two calls.


def test_space_cannot_be_reserved_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform has no call for it, reserving fails as on a full disk."""
    monkeypatch.delattr(os, "posix_fallocate")
    with pytest.raises(OSError, match="reserve"):
        PosixSystem().allocate(0, 1)


@pytest.mark.parametrize("size", [0, 5])
def test_waiting_for_writers_ends_at_once_without_any(system: System, base: str, size: int) -> None:
    """Nobody is in the middle of a write: nothing happens, nothing is raised."""
    fd = open_append(system, f"{base}/log")
    write_all(system, fd, b"x" * size)
    reader = system.open(f"{base}/log", os.O_RDONLY)
    system.await_writers(reader)

    assert size == system.fstat(reader).st_size
    system.close(fd)
    system.close(reader)


@pytest.mark.parametrize(
    ("data", "torn"), [(b"", False), (b"a\n", False), (b"a", True), (b"a\nb", True)]
)
def test_last_line_is_torn_when_it_stays_unfinished(
    system: System, base: str, data: bytes, torn: bool
) -> None:
    """A file at rest without a newline at its end is torn; an empty one is not."""
    fd = open_append(system, f"{base}/log")
    write_all(system, fd, data)
    system.close(fd)

    assert torn is ends_torn(system, f"{base}/log", len(data))


@pytest.mark.parametrize(
    ("writes", "torn"),
    [
        ([b"\n"], False),
        ([b"b\n"], False),
        ([b"b", b"\n"], False),
        ([b"b"], True),
        ([b"b"] * 99, False),
    ],
)
def test_line_that_is_being_written_is_not_torn(writes: list[bytes], torn: bool) -> None:
    """While others still write, a missing newline means nothing."""

    class Busy(FaultyFilesystem):
        def await_writers(self, fd: int) -> None:
            if left:
                self.write(writer, left.pop(0))

    left = list(writes)
    fs = Busy()
    writer = open_append(fs, "/log")
    fs.write(writer, b"a")

    assert (torn, 1) == (ends_torn(fs, "/log", 1), fs.descriptors())


def test_file_that_goes_and_comes_is_opened_in_the_end() -> None:
    """Somebody rotates between our two looks: the next look finds or makes a file."""

    class Rotating(FaultyFilesystem):
        looks = 0

        def open(self, path: str, flags: int, mode: int = 0o600) -> int:
            self.looks += 1
            if self.looks <= gone:
                raise FileExistsError if flags & os.O_EXCL else FileNotFoundError
            return super().open(path, flags, mode)

    gone = 14
    fs = Rotating()
    fs.close(open_append(fs, "/log"))
    made = fs.files()
    gone = 99
    with pytest.raises(FileNotFoundError):
        open_append(fs, "/log")

    assert (["/log"], 15 + 16) == (made, fs.looks)


def test_parents_that_are_always_removed_are_an_error() -> None:
    """It is not tried for ever."""

    class Cleaning(FaultyFilesystem):
        def makedirs(self, path: str, mode: int = 0o700) -> None:
            """Somebody removes it at once."""

    with pytest.raises(FileNotFoundError):
        open_append(Cleaning(), "/a/log")


@pytest.mark.parametrize("also", [None, "lstat"])
def test_error_of_a_regular_file_stays_what_it_is(also: str | None) -> None:
    """Only for something that is no regular file is another message better."""
    fs = FaultyFilesystem()
    fs.put("/log")
    fs.fail("open", errno.EACCES, when=2)
    if also is not None:
        fs.fail(also, errno.EIO)
    with pytest.raises(PermissionError) as caught:
        open_append(fs, "/log")

    assert os.strerror(errno.EACCES) == caught.value.strerror


def test_every_kind_of_file_has_a_name(tmp_path: Path) -> None:
    """A message can say what it found."""
    regular = tmp_path / "log"
    regular.touch()

    assert ["a regular file", "a directory", "a character device"] == [
        kind_of(os.lstat(path)) for path in (regular, tmp_path, "/dev/null")
    ]


# The portable twin.


@pytest.fixture
def twin() -> PortableSystem:
    """Return the portable system."""
    return PortableSystem()


def test_portable_twin_needs_no_modes(
    twin: PortableSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a descriptor's mode cannot be set, the one of open has to do."""
    monkeypatch.delattr(os, "fchmod")
    fd = open_append(twin, str(tmp_path / "log"), 0o600)
    twin.fchmod(fd, 0o644)
    twin.close(fd)

    assert 0o600 == stat.S_IMODE((tmp_path / "log").stat().st_mode)


def test_directories_are_made_from_where_we_are(
    twin: PortableSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path without a parent is made in the current directory."""
    monkeypatch.chdir(tmp_path)
    twin.makedirs("a")
    twin.makedirs("b/c/")

    assert ["a", "b", "c"] == sorted(path.name for path in tmp_path.rglob("*"))


def test_directory_that_another_makes_meanwhile_is_fine(
    twin: PortableSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who of two makes it does not matter."""
    mkdir = os.mkdir

    def slower(path: str, mode: int) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", slower)
    twin.makedirs(str(tmp_path / "a"))

    assert (tmp_path / "a").is_dir()


def test_unknown_facts_are_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A platform without /proc gives no names, and no error."""
    for name in ("_BOOT_ID", "_PID_NAMESPACE", "_OWN_STAT"):
        monkeypatch.setattr(_portable, name, str(tmp_path / "missing"))
    monkeypatch.delattr(os, "geteuid")

    assert ("", "", "0", 0) == (
        SYSTEM.boot_id(),
        SYSTEM.pid_namespace(),
        SYSTEM.process_start(),
        SYSTEM.getuid(),
    )


def test_portable_wait_leaves_the_judgement_to_the_write(twin: PortableSystem) -> None:
    """What cannot be waited for is tried at once."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    empty = twin.wait_writable(writer, 0)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    full = twin.wait_writable(writer, -1)
    os.close(reader)
    os.close(writer)

    assert (True, False, True, True) == (
        empty,
        full,
        twin.wait_writable(-1, 0),
        twin.wait_writable(writer, 0),
    )


def test_portable_lock_is_not_given_up_by_a_forked_child(
    twin: PortableSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has the parent's table, but closing there frees nothing."""
    fd = open_append(twin, str(tmp_path / "log"))
    twin.lock(fd)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    twin.close(fd)

    assert 2 == len(os.listdir(tmp_path))


def test_portable_lock_removed_by_others_is_no_error(twin: PortableSystem, tmp_path: Path) -> None:
    """Closing does not mind that its lock file is gone."""
    fd = open_append(twin, str(tmp_path / "log"))
    twin.lock(fd)
    for path in tmp_path.glob(".*.lock"):
        path.unlink()
    twin.close(fd)

    assert ["log"] == os.listdir(tmp_path)


@pytest.mark.parametrize("text", ["", "x"])
def test_portable_lock_that_is_not_signed_yet_holds(
    twin: PortableSystem, tmp_path: Path, text: str
) -> None:
    """A lock file that was made a moment ago belongs to somebody alive."""
    fd = open_append(twin, str(tmp_path / "log"))
    facts = twin.fstat(fd)
    (tmp_path / f".{facts.st_dev:x}-{facts.st_ino:x}.lock").write_text(text)

    assert not twin.lock(fd)
    twin.close(fd)


@pytest.mark.parametrize(
    ("error", "taken"), [(ProcessLookupError, True), (PermissionError, False), (None, False)]
)
def test_portable_lock_asks_whether_its_owner_lives(
    twin: PortableSystem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[OSError] | None,
    taken: bool,
) -> None:
    """A process that may not be asked is alive; only one that is not there is dead."""

    def kill(pid: int, number: int) -> None:
        if error is not None:
            raise error

    fd = open_append(twin, str(tmp_path / "log"))
    facts = twin.fstat(fd)
    (tmp_path / f".{facts.st_dev:x}-{facts.st_ino:x}.lock").write_text("4242\n")
    monkeypatch.setattr(os, "kill", kill)

    assert taken is twin.lock(fd)
    twin.close(fd)


def test_portable_lock_that_is_taken_again_and_again_is_left(
    twin: PortableSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that are always quicker have the lock."""
    fd = open_append(twin, str(tmp_path / "log"))
    facts = twin.fstat(fd)
    (tmp_path / f".{facts.st_dev:x}-{facts.st_ino:x}.lock").write_text("4242\n")
    monkeypatch.setattr(_portable, "_clear_stale", lambda name: True)

    assert not twin.lock(fd)
    twin.close(fd)


def test_stale_lock_that_another_cleared_is_free(tmp_path: Path) -> None:
    """Of two finders of one stale lock, the slower sees the name free."""
    assert _portable._clear_stale(str(tmp_path / "gone.lock"))


def test_fresh_lock_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looked stale and was replaced by a living lock meanwhile gets its name back."""
    path = tmp_path / "a.lock"
    path.write_text("4242\n")
    answers = [False, True]
    monkeypatch.setattr(_portable, "_owner_lives", lambda name: answers.pop(0))
    cleared = _portable._clear_stale(str(path))

    assert (False, ["a.lock"]) == (cleared, os.listdir(tmp_path))
