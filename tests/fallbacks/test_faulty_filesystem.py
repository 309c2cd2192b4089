"""
The faulty file system: real until told otherwise.
"""

from __future__ import annotations

import errno
import os
import stat
import time

import pytest

from fallbacks.files import open_append, write_all
from fallbacks.testing.faulty_filesystem import FaultyFilesystem, Killed

pytestmark = pytest.mark.unit


@pytest.fixture
def fs() -> FaultyFilesystem:
    """Return a healthy file system."""
    return FaultyFilesystem()


def test_quota_writes_short_and_then_fails(fs: FaultyFilesystem) -> None:
    """At the quota a write is cut, the next one refused; removing makes room."""
    fs.set_quota(10)
    fd = open_append(fs, "/a")
    written, error = write_all(fs, fd, b"x" * 15)
    fs.close(fd)
    fs.unlink("/a")

    assert error is not None
    assert (10, errno.ENOSPC, 0) == (written, error.errno, fs.used)


def test_unlinked_file_lives_with_its_descriptor(fs: FaultyFilesystem) -> None:
    """Space is free only when the last descriptor goes."""
    fd = open_append(fs, "/a")
    fs.write(fd, b"12345")
    fs.unlink("/a")
    used = fs.used
    fs.close(fd)

    assert (5, 0) == (used, fs.used)


def test_fault_strikes_when_and_as_often_as_told(fs: FaultyFilesystem) -> None:
    """The n-th matching operation fails, the given number of times."""
    fs.fail("write", errno.EIO, when=2, times=2, path="/a*")
    a, b = open_append(fs, "/a"), open_append(fs, "/b")
    answers = [write_all(fs, a, b"1")[1] is None for _ in range(4)]

    assert ([True, False, False, True], (1, None)) == (answers, write_all(fs, b, b"1"))


def test_killed_process_keeps_nothing_but_what_it_wrote(fs: FaultyFilesystem) -> None:
    """Death frees descriptors, mappings and locks and keeps the bytes, torn ones too."""
    process = fs.process(7)
    fd = open_append(process, "/a")
    process.lock(fd)
    process.kill_at(2, torn=3)
    process.write(fd, b"whole\n")
    with pytest.raises(Killed):
        process.write(fd, b"torn away\n")
    with pytest.raises(Killed):
        process.stat("/a")
    mine = open_append(fs, "/a")

    assert (b"whole\ntor", 1, True) == (fs.read("/a"), fs.descriptors(), fs.lock(mine))


def test_power_cut_keeps_what_was_synced() -> None:
    """Synced bytes and names survive with every seed; others with some."""
    outcomes = set()
    for seed in range(40):
        fs = FaultyFilesystem(seed=seed)
        fs.makedirs("/d")
        fd = open_append(fs, "/d/a")
        fs.write(fd, b"safe")
        fs.fdatasync(fd)
        fs.sync_directory("/d")
        fs.write(fd, b"+more")
        fs.close(open_append(fs, "/d/b"))
        fs.power_cut()

        assert fs.read("/d/a").startswith(b"safe")
        outcomes.add((fs.read("/d/a"), "/d/b" in fs.files()))
    assert len(outcomes) > 3


def test_fifo_that_would_block_is_a_mistake(fs: FaultyFilesystem) -> None:
    """Code that would hang on a real FIFO fails its test here."""
    fs.mkfifo("/p")
    with pytest.raises(AssertionError, match="block"):
        fs.open("/p", os.O_RDONLY)


def test_links_and_renames_share_the_inode(fs: FaultyFilesystem) -> None:
    """Names come and go, the inode and its count stay right."""
    fs.put("/a", b"x")
    fs.link("/a", "/b")
    two = fs.stat("/a").st_nlink
    fs.put("/c", b"y")
    fs.rename("/b", "/c")
    fs.symlink("/c", "/s")

    assert (2, 2, fs.stat("/a").st_ino) == (two, fs.stat("/c").st_nlink, fs.stat("/s").st_ino)
    assert (["/a", "/c", "/s"], 1) == (fs.files(), fs.used)


def test_hundred_thousand_operations_take_seconds(fs: FaultyFilesystem) -> None:
    """It is fast enough for loops over every operation."""
    fd = open_append(fs, "/a")
    start = time.perf_counter()
    for _ in range(20_000):
        fs.write(fd, b"x" * 100)

    assert time.perf_counter() - start < 2


def test_paths_lead_where_links_say(fs: FaultyFilesystem) -> None:
    """Links are followed in any part of a path, up to a limit."""
    fs.makedirs("/a/b")
    fs.put("/a/b/file", b"x")
    fs.symlink("/a", "/s")
    fs.symlink("file", "/a/b/near")
    fs.symlink("/loop", "/loop")
    reader = fs.open("/s/b/near", os.O_RDONLY)
    with pytest.raises(OSError, match="symbolic links"):
        fs.stat("/loop")
    with pytest.raises(NotADirectoryError):
        fs.stat("/a/b/file/more")

    assert (b"x", True) == (fs.pread(reader, 9, 0), stat.S_ISDIR(fs.stat("/").st_mode))


def test_odd_calls_fail_as_they_really_do(fs: FaultyFilesystem) -> None:
    """What the system refuses is refused here with the same error."""
    fs.put("/file", b"12345")
    fs.makedirs("/d")
    reader = fs.open("/file", os.O_RDONLY)
    for call, number in (
        (lambda: fs.write(reader, b"x"), errno.EBADF),
        (lambda: fs.fstat(99), errno.EBADF),
        (lambda: fs.close(99), errno.EBADF),
        (lambda: fs.open("/none", os.O_RDONLY), errno.ENOENT),
        (lambda: fs.open("/none/file", os.O_RDONLY), errno.ENOENT),
        (lambda: fs.unlink("/d"), errno.EISDIR),
        (lambda: fs.listdir("/file"), errno.ENOTDIR),
        (lambda: fs.map(reader, 6), errno.EINVAL),
    ):
        with pytest.raises(OSError) as caught:
            call()

        assert number == caught.value.errno
    fs.close(fs.open("/file", os.O_WRONLY | os.O_TRUNC))

    assert (b"", 0, 1) == (fs.read("/file"), fs.used, fs.descriptors())


def test_renaming_one_name_of_a_file_to_another_does_nothing(fs: FaultyFilesystem) -> None:
    """As POSIX has it, both names stay."""
    fs.put("/a")
    fs.link("/a", "/b")
    fs.rename("/a", "/b")

    assert ["/a", "/b"] == fs.files()


def test_writes_can_be_made_short(fs: FaultyFilesystem) -> None:
    """A limit holds for each write until it is lifted."""
    fd = open_append(fs, "/a")
    fs.limit_writes(2)
    short = fs.write(fd, b"12345")
    fs.heal()

    assert (2, 5, 2) == (short, fs.write(fd, b"12345"), fs.calls["write"])


def test_torn_write_of_the_killed_respects_a_full_disk(fs: FaultyFilesystem) -> None:
    """Whoever dies on a full disk leaves nothing more, and dies."""
    process = fs.process(200)
    fd = open_append(process, "/a")
    fs.set_quota(0)
    process.kill_at(1, torn=3)
    with pytest.raises(Killed):
        process.write(fd, b"12345")

    assert (b"", 0) == (fs.read("/a"), fs.descriptors())


def test_mapped_write_of_the_killed_is_torn(fs: FaultyFilesystem) -> None:
    """A copy into memory can be cut short by death, never by an error."""
    process = fs.process(200)
    fd = process.open("/a", os.O_RDWR | os.O_CREAT)
    process.allocate(fd, 8)
    mapping = process.map(fd, 8)
    fs.fail("*", errno.EIO, times=None)
    mapping.write(b"12")
    process.kill_at(1, torn=1)
    with pytest.raises(Killed):
        mapping.write(b"345")
    mapping.close()

    assert b"123" + bytes(5) == fs.read("/a")
