"""
Files with an owner: whole or not there, and taken over from the dead only.
"""

from __future__ import annotations

import errno
import os

import pytest

from fallbacks._ownership import Refusal, make_owned, remove_unfinished, take_over
from fallbacks.files import write_all
from fallbacks.testing.faulty_filesystem import FaultyFilesystem, FaultyProcess, Killed

pytestmark = pytest.mark.unit

PATH = "/d/file"


@pytest.fixture
def fs() -> FaultyFilesystem:
    """Return a healthy file system with a directory."""
    fs = FaultyFilesystem()
    fs.makedirs("/d")
    return fs


def made(system: FaultyProcess, *, durable: bool = False) -> int:
    """Make the file."""

    def fill(fd: int) -> None:
        _, error = write_all(system, fd, b"whole\n")
        if error is not None:
            raise error

    return make_owned(system, PATH, fill, durable=durable)


def test_file_is_whole_private_and_locked(fs: FaultyFilesystem) -> None:
    """When others see it, it has its content, its mode and its owner."""
    fd = made(fs)
    write_all(fs, fd, b"more\n")

    assert ([PATH], b"whole\nmore\n", 0o600) == (
        fs.files(),
        fs.read(PATH),
        fs.stat(PATH).st_mode & 0o777,
    )
    assert Refusal.LOCKED is take_over(fs.process(200), PATH)


@pytest.mark.parametrize("durable", [False, True])
def test_failure_anywhere_leaves_nothing(fs: FaultyFilesystem, durable: bool) -> None:
    """Whatever fails, file and descriptor are gone, or the file is there and ours."""
    start = fs.operations
    fs.close(made(fs, durable=durable))
    fs.unlink(PATH)
    for n in range(1, fs.operations - start - 1):
        fs.fail("*", errno.EIO, when=n)
        try:
            fd = made(fs, durable=durable)
        except OSError:
            left = fs.files()

            assert ([], 0) == (left, fs.descriptors()), n
        else:
            # Links failed, so it was renamed.
            fs.close(fd)
            fs.unlink(PATH)
        fs.heal()


def test_file_of_another_is_never_removed(fs: FaultyFilesystem) -> None:
    """When the name is taken, the file that has it stays."""
    fs.put(PATH, b"theirs")
    with pytest.raises(FileExistsError):
        made(fs)

    assert ([PATH], b"theirs", 0) == (fs.files(), fs.read(PATH), fs.descriptors())


def test_file_that_somebody_got_hold_of_is_theirs() -> None:
    """Who locks the hidden file before its maker does removes it; the maker does not."""

    class Racing(FaultyFilesystem):
        def lock(self, fd: int) -> bool:
            other.lock(other.open("/d/.file", os.O_RDWR))
            return super().lock(fd)

    fs = Racing()
    fs.makedirs("/d")
    other = fs.process(200)
    with pytest.raises(FileExistsError, match="another process"):
        made(fs)

    assert (["/d/.file"], 0) == (fs.files(), fs.open_descriptors)


def test_durable_file_survives_a_power_cut() -> None:
    """Bytes and name are on the disk when it returns."""
    for seed in range(20):
        fs = FaultyFilesystem(seed=seed)
        fs.makedirs("/d")
        made(fs, durable=True)
        fs.power_cut()

        assert b"whole\n" == fs.process(200)._disk.find(PATH).data


def test_interrupt_while_filling_leaves_nothing(fs: FaultyFilesystem) -> None:
    """An exception of a signal handler is passed on, and nothing stays, errors or not."""

    def fill(fd: int) -> None:
        fs.fail("close", errno.EIO)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_owned(fs, PATH, fill)

    assert ([], 0) == (fs.files(), fs.descriptors())


def test_dead_owners_file_is_taken_over(fs: FaultyFilesystem) -> None:
    """It can be read, appended to, and is locked."""
    made(fs.process(200))
    fs.kill(200)
    fd = take_over(fs, PATH)

    assert isinstance(fd, int)
    write_all(fs, fd, b"more\n")
    assert b"whole\nmore\n" == fs.pread(fd, 100, 0)
    assert Refusal.LOCKED is take_over(fs.process(300), PATH)


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        (errno.ENOENT, Refusal.GONE),
        (errno.EACCES, Refusal.FOREIGN),
        (errno.ELOOP, Refusal.FOREIGN),
        (errno.EISDIR, Refusal.FOREIGN),
        (errno.ENXIO, Refusal.FOREIGN),
        (errno.EIO, Refusal.UNREADABLE),
        (errno.EMFILE, Refusal.UNREADABLE),
    ],
)
def test_error_at_open_says_whose_fault_it_is(
    fs: FaultyFilesystem, number: int, refusal: Refusal
) -> None:
    """What was planted is told from what the system could not do."""
    fs.put(PATH)
    fs.fail("open", number)

    assert refusal is take_over(fs, PATH)


@pytest.mark.parametrize("operation", ["fstat", "lock", "lstat"])
def test_error_after_open_closes_and_refuses(fs: FaultyFilesystem, operation: str) -> None:
    """No descriptor stays open, even when closing fails as well."""
    fs.put(PATH)
    fs.fail(operation, errno.EIO)
    fs.fail("close", errno.EIO)

    assert (Refusal.UNREADABLE, 0) == (take_over(fs, PATH), fs.descriptors())


def test_file_of_another_user_is_foreign(fs: FaultyFilesystem) -> None:
    """It is neither read nor locked."""
    fs.put(PATH, uid=0)

    assert (Refusal.FOREIGN, 0, 0) == (take_over(fs, PATH), fs.calls["lock"], fs.descriptors())


def test_killed_while_taking_over(fs: FaultyFilesystem) -> None:
    """Death is passed on."""
    fs.put(PATH)
    process = fs.process(200)
    process.kill_at(3)
    with pytest.raises(Killed):
        take_over(process, PATH)

    assert 0 == fs.descriptors()


def test_unfinished_file_of_the_dead_goes_and_of_the_living_stays(fs: FaultyFilesystem) -> None:
    """The lock decides."""
    fs.put("/d/.a")
    fs.put("/d/.b")
    owner = fs.process(200)
    owner.lock(owner.open("/d/.b", os.O_RDWR))
    for name in ("/d/.a", "/d/.b", "/d/.c"):
        remove_unfinished(fs, name)

    assert (["/d/.b"], 0) == (fs.files(), fs.open_descriptors)


def test_unfinished_file_that_cannot_be_removed_is_closed(fs: FaultyFilesystem) -> None:
    """The error is raised, the lock is given back."""
    fs.put("/d/.a")
    fs.fail("unlink", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        remove_unfinished(fs, "/d/.a")

    assert 0 == fs.descriptors()
