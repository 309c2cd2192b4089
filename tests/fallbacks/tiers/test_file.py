from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED, Partial, Retryable
from fallbacks.system import SYSTEM, PosixSystem
from fallbacks.tier import AsyncTier, Kind, RenderError, SyncTier
from fallbacks.tiers import AsyncFileTier, FileTier

pytestmark = pytest.mark.integration


def identify(line: bytes) -> bytes:
    """Return the text of the line as its id."""
    return line.rstrip(b"\n")


class Refusing(PosixSystem):
    """A system on which calls of a kind fail as long as there is an error set for them."""

    __slots__ = ("calls", "errors", "takes")

    def __init__(self):
        self.errors = {}
        self.takes = None
        self.calls = []

    def _check(self, call, path=""):
        self.calls.append(call)
        if call in self.errors:
            raise OSError(self.errors[call], os.strerror(self.errors[call]), path)

    def open(self, path, flags, mode=0o600):
        self._check("open", path)
        return super().open(path, flags, mode)

    def write(self, fd, data):
        self._check("write")
        if self.takes is None:
            return super().write(fd, data)
        taken = super().write(fd, data[: self.takes])
        self.errors["write"] = errno.ENOSPC
        return taken

    def pread(self, fd, n, offset):
        self._check("pread")
        return super().pread(fd, n, offset)

    def fstat(self, fd):
        self._check("fstat")
        return super().fstat(fd)


def test_lines_are_appended_with_one_write(log):
    """
    A batch is one write(2) of its joined lines.
    """
    system = Refusing()
    tier = FileTier(log, system=system)
    outcome = tier.write(Batch([b"one\n", b"two\n"]))
    tier.close()

    assert DELIVERED is outcome
    assert b"one\ntwo\n" == log.read_bytes()
    assert 1 == system.calls.count("write")


def test_both_tiers_are_what_the_protocols_say(log):
    """
    The tiers are final, named, and of the kind their names say.
    """
    sync, other = FileTier(log), AsyncFileTier(log)

    assert isinstance(sync, SyncTier)
    assert isinstance(other, AsyncTier)
    assert (Kind.FINAL, "file") == (sync.kind, sync.name)
    assert (Kind.FINAL, "async_file") == (other.kind, other.name)
    assert f"<FileTier file '{log}'>" == repr(sync)
    assert f"<AsyncFileTier async_file '{log}'>" == repr(other)


def test_written_and_read_back(appender, log):
    """
    What is delivered is in the file, in order, after what was there.
    """
    log.write_bytes(b"old\n")
    tier = appender(log)
    outcomes = [tier.write("one", "two"), tier.write("three")]

    assert [DELIVERED, DELIVERED] == outcomes
    assert b"old\none\ntwo\nthree\n" == log.read_bytes()


def test_nothing_to_write_opens_nothing(appender, log):
    """
    An empty batch is delivered without a file.
    """
    tier = appender(log)
    outcome = tier.write()

    assert DELIVERED is outcome
    assert not log.exists()


def test_rendered_lines_are_written(appender, log):
    """
    With a renderer its bytes are written in place of the lines.
    """
    tier = appender(log, render=bytes.upper)
    tier.write("one", "two")

    assert b"ONE\nTWO\n" == log.read_bytes()


def test_errors_of_a_renderer_are_told_from_the_tier_s(appender, log):
    """
    What a renderer raises leaves the tier under a name of its own; nothing is written.
    """

    def broken(line):
        raise TimeoutError

    with pytest.raises(RenderError) as raised:
        appender(log, render=broken).write("one")

    assert isinstance(raised.value.__cause__, TimeoutError)
    assert not log.exists()


def test_rendered_end_without_a_newline_is_ended(appender, log):
    """
    A renderer that leaves the newline out does not glue two batches together.
    """
    tier = appender(log, render=bytes.rstrip)
    tier.write("one")
    tier.write("two")

    assert b"one\ntwo" == log.read_bytes()


def test_directories_and_file_are_private(appender, tmp_path):
    """
    Missing directories are made 0700 and the file gets exactly its mode.
    """
    path = tmp_path / "a" / "b" / "app.log"
    before = os.umask(0)
    try:
        appender(path, mode=0o640).write("one")
    finally:
        os.umask(before)

    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    assert 0o640 == stat.S_IMODE(path.stat().st_mode)


def test_descriptors_are_closed_on_exec(appender, log):
    """
    A program started meanwhile does not inherit the file.
    """
    tier = appender(log)
    tier.write("one")

    assert not os.get_inheritable(tier.tier._target.fd)


def test_relative_path_stays_where_it_was(appender, tmp_path, monkeypatch):
    """
    A later change of directory does not move the file.
    """
    monkeypatch.chdir(tmp_path)
    tier = appender("app.log")
    monkeypatch.chdir("/")
    tier.write("one")

    assert b"one\n" == (tmp_path / "app.log").read_bytes()


def test_file_moved_away_is_made_again(appender, log):
    """
    After a rename the next batch goes to a new file at the path.
    """
    tier = appender(log)
    tier.write("one")
    log.rename(f"{log}.1")
    tier.write("two")

    assert b"one\n" == Path(f"{log}.1").read_bytes()
    assert b"two\n" == log.read_bytes()


def test_file_replaced_is_followed(appender, log, tmp_path):
    """
    When another file has taken the path, the lines go there.
    """
    tier = appender(log)
    tier.write("one")
    other = tmp_path / "other"
    other.write_bytes(b"new\n")
    other.replace(log)
    tier.write("two")

    assert b"new\ntwo\n" == log.read_bytes()


def test_directory_removed_is_made_again(appender, tmp_path):
    """
    A removed directory and its file come back with the next batch.
    """
    path = tmp_path / "logs" / "app.log"
    tier = appender(path)
    tier.write("one")
    path.unlink()
    path.parent.rmdir()
    tier.write("two")

    assert b"two\n" == path.read_bytes()


def test_directory_replaced_by_a_file_is_retryable(appender, tmp_path):
    """
    Where no file can be made nothing is written to the one that has no name.
    """
    path = tmp_path / "logs" / "app.log"
    tier = appender(path)
    tier.write("one")
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"")
    outcome = tier.write("two")

    assert isinstance(outcome, Retryable)
    assert isinstance(outcome.error, OSError)


def test_rotation_leaks_no_descriptor(appender, log):
    """
    Reopening closes what was open before.
    """
    tier = appender(log)
    tier.write("one")
    before = len(os.listdir("/proc/self/fd"))
    for n in range(5):
        log.rename(f"{log}.{n}")
        tier.write("more")

    assert before == len(os.listdir("/proc/self/fd"))


def test_copytruncate_leaves_no_hole(appender, log):
    """
    After the file was cut the next line stands at its start.
    """
    tier = appender(log)
    tier.write("one", "two")
    os.truncate(log, 0)
    tier.write("three")

    assert b"three\n" == log.read_bytes()


def test_torn_end_of_another_process_gets_its_newline(appender, log):
    """
    A file that does not end in a newline is continued on a line of its own.
    """
    log.write_bytes(b"one\nto")
    appender(log).write("two")

    assert b"one\nto\ntwo\n" == log.read_bytes()


def test_end_that_cannot_be_read_gets_a_newline(log):
    """
    In doubt the file gets an empty line rather than two lines in one.
    """
    log.write_bytes(b"one\n")
    system = Refusing()
    system.errors["pread"] = errno.EIO
    tier = FileTier(log, system=system)
    tier.write(Batch([b"two\n"]))
    tier.close()

    assert b"one\n\ntwo\n" == log.read_bytes()


@pytest.mark.parametrize(
    ("takes", "expected", "content"),
    [
        (2, None, b"on\none\ntwo\nthree\n"),
        (4, 1, b"one\none\ntwo\nthree\n"),
        (6, 1, b"one\ntw\none\ntwo\nthree\n"),
        (8, 2, b"one\ntwo\none\ntwo\nthree\n"),
    ],
)
def test_short_write_counts_whole_lines_only(log, takes, expected, content):
    """
    Lines cut off are not claimed, and the next write starts on a new line.
    """
    system = Refusing()
    system.takes = takes
    tier = FileTier(log, system=system)
    batch = Batch([b"one\n", b"two\n", b"three\n"])
    outcome = tier.write(batch)
    again = tier.write(batch)
    system.takes = None
    system.errors.clear()
    tier.write(batch)
    tier.close()
    taken = list(outcome.indices) if isinstance(outcome, Partial) else None

    assert (list(range(expected)) if expected else None) == taken
    assert isinstance(again, Retryable)
    assert errno.ENOSPC == again.error.errno
    assert content == log.read_bytes()


def test_sibling_torn_by_the_same_full_disk_is_seen(log):
    """
    After a failure the end of the file is looked at again, whoever wrote it.
    """
    system = Refusing()
    tier = FileTier(log, system=system)
    tier.write(Batch([b"one\n"]))
    system.errors["write"] = errno.ENOSPC
    tier.write(Batch([b"two\n"]))
    with log.open("ab") as sibling:
        sibling.write(b"sib")
    system.errors.clear()
    tier.write(Batch([b"two\n"]))
    tier.close()

    assert b"one\nsib\ntwo\n" == log.read_bytes()


def test_interrupted_write_is_looked_at_again(log):
    """
    When an exception comes out of the write itself, the end of the file is in doubt.
    """

    class Interrupted(Refusing):
        __slots__ = ()

        def write(self, fd, data):
            os.write(fd, data[:2])
            raise KeyboardInterrupt

    tier = FileTier(log, system=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        tier.write(Batch([b"one\n"]))
    tier._target.system = SYSTEM
    tier.write(Batch([b"one\n"]))
    tier.close()

    assert b"on\none\n" == log.read_bytes()


@pytest.mark.parametrize("call", ["open", "fstat"])
def test_interrupt_while_opening_leaks_no_descriptor(log, call):
    """
    Whatever comes out of the look at a new file, its descriptor is closed.
    """

    class Interrupted(Refusing):
        __slots__ = ()

        def _check(self, name, path=""):
            super()._check(name, path)
            if self.calls.count(call) == 3:
                raise KeyboardInterrupt

    log.write_bytes(b"one\n")
    before = len(os.listdir("/proc/self/fd"))
    tier = FileTier(log, system=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        for _ in range(3):
            tier.write(Batch([b"two\n"]))
            tier.close()
    tier.close()

    assert before == len(os.listdir("/proc/self/fd"))


def plant_symlink(path):
    """Put a link to a regular file at *path*."""
    path.with_name("real").write_bytes(b"")
    path.symlink_to(path.with_name("real"))


@pytest.mark.parametrize(
    "plant",
    [plant_symlink, os.mkfifo, os.mkdir, lambda path: os.mknod(path, stat.S_IFIFO)],
    ids=["symlink", "fifo", "directory", "node"],
)
def test_what_is_no_regular_file_is_refused(appender, log, plant):
    """
    Links, FIFOs and directories are not written to, and do not block.
    """
    plant(log)
    outcome = appender(log).write("one")

    assert isinstance(outcome, Retryable)
    assert "not a regular file" in str(outcome.error)


def test_no_descriptor_left_keeps_the_old_file(log):
    """
    When the new file cannot be opened for want of descriptors, the old one is used.
    """
    system = Refusing()
    tier = FileTier(log, system=system)
    tier.write(Batch([b"one\n"]))
    log.rename(f"{log}.1")
    system.errors["open"] = errno.EMFILE
    kept = tier.write(Batch([b"two\n"]))
    system.errors.clear()
    tier.write(Batch([b"three\n"]))
    tier.close()

    assert DELIVERED is kept
    assert b"one\ntwo\n" == Path(f"{log}.1").read_bytes()
    assert b"three\n" == log.read_bytes()


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EACCES])
def test_file_without_a_name_is_not_written_to(log, error):
    """
    Lines in a removed file would be gone with its descriptor.
    """
    system = Refusing()
    tier = FileTier(log, system=system)
    tier.write(Batch([b"one\n"]))
    log.unlink()
    system.errors["open"] = error
    outcome = tier.write(Batch([b"two\n"]))
    tier.close()

    assert error == outcome.error.errno


def test_other_errors_do_not_keep_a_moved_file(log):
    """
    Only a want of descriptors is a reason to write to the file that was moved.
    """
    system = Refusing()
    tier = FileTier(log, system=system)
    tier.write(Batch([b"one\n"]))
    log.rename(f"{log}.1")
    system.errors["open"] = errno.EACCES
    outcome = tier.write(Batch([b"two\n"]))
    tier.close()

    assert errno.EACCES == outcome.error.errno


def test_descriptor_taken_by_another_file_is_left_alone(appender, log, tmp_path):
    """
    A program that closed all descriptors has put its own file under the number.
    """
    tier = appender(log)
    tier.write("one")
    number = tier.tier._target.fd
    victim = tmp_path / "victim"
    fd = os.open(victim, os.O_WRONLY | os.O_CREAT)
    os.dup2(fd, number)
    tier.write("two")
    tier.close()
    survived = os.fstat(number).st_ino
    os.close(number)
    os.close(fd)

    assert b"" == victim.read_bytes()
    assert victim.stat().st_ino == survived
    assert b"one\ntwo\n" == log.read_bytes()


def test_descriptor_closed_by_others_is_opened_again(appender, log):
    """
    A descriptor that is gone costs no line, and nothing of what is known of the file.
    """
    tier = appender(log)
    tier.write("one")
    os.close(tier.tier._target.fd)
    position = tier.position()
    tier.write("two")

    assert 4 == position.offset
    assert b"one\ntwo\n" == log.read_bytes()


def test_closed_tier_opens_again(appender, log):
    """
    Closing is idempotent, and the next write opens the file again.
    """
    tier = appender(log)
    tier.write("one")
    tier.close()
    tier.close()
    closed = tier.position()
    tier.write("two")

    assert closed is None
    assert b"one\ntwo\n" == log.read_bytes()


def test_abandoned_in_a_child_the_parent_goes_on(appender, log):
    """
    The child closes its copy of the descriptor; the file stays open in the parent.
    """
    tier = appender(log)
    tier.write("one")
    number = tier.tier._target.fd
    copy = os.dup(number)
    tier.tier.abandon()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    os.close(copy)
    tier.write("two")

    assert b"one\ntwo\n" == log.read_bytes()


def test_position_is_behind_the_last_write(appender, log):
    """
    The position names the file and the end of what was written.
    """
    tier = appender(log)
    none = tier.position()
    tier.write("one", "two")
    position = tier.position()
    facts = log.stat()

    assert none is None
    assert (facts.st_dev, facts.st_ino, 8) == (position.dev, position.ino, position.offset)


def test_position_is_no_later_than_what_is_written_next(appender, log):
    """
    Whatever others append, no line of ours that comes later stands before the position.
    """
    tier = appender(log)
    log.write_bytes(b"before\n")
    tier.write("one")
    with open(log, "ab") as other:
        other.write(b"theirs\n")
    position = tier.position()
    tier.write("two")

    assert b"before\none\n" == log.read_bytes()[: position.offset]


def test_scan_finds_what_was_written_since(appender, log):
    """
    Only lines behind the position are looked at.
    """
    tier = appender(log)
    tier.write("one")
    since = tier.position()
    tier.write("two", "three")
    found = tier.scan({b"one", b"two", b"four"}, since, identify)

    assert {b"two"} == found


ENOSPC_SCRIPT = """
    import asyncio, resource, signal, sys
    from fallbacks.batch import Batch
    from fallbacks.tiers import AsyncFileTier, FileTier
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    lines = [b"x" * 299 + b"\\n"] * 5
    path = sys.argv[2]
    async def both():
        tier = AsyncFileTier(path)
        first = await tier.write(Batch(lines))
        second = await tier.write(Batch(lines))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        third = await tier.write(Batch([b"end\\n"]))
        await tier.aclose()
        return first, second, third
    if sys.argv[1] == "async":
        first, second, third = asyncio.run(both())
    else:
        tier = FileTier(path)
        first, second = tier.write(Batch(lines)), tier.write(Batch(lines))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        third = tier.write(Batch([b"end\\n"]))
    print(list(first.indices), first.rest.error.errno, type(second).__name__, third)
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_real_limit_in_the_middle_of_a_batch(kind, log):
    """
    The kernel takes 1000 bytes: three lines are delivered, the fourth is torn.
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ENOSPC_SCRIPT), kind, str(log)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    lines = log.read_bytes().split(b"\n")

    assert f"[0, 1, 2] {errno.EFBIG} Retryable Delivered(prefix=None)\n" == done.stdout, done.stderr
    assert [299, 299, 299, 100, 3, 0] == [len(line) for line in lines]


def test_real_full_disk(appender, tmp_path):
    """
    A full tmpfs takes part of a batch; when there is room again, logging goes on.
    """
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no tmpfs of our own: {made.stderr.strip()}")
    try:
        tier = appender(mount / "app.log")
        outcome = tier.write(*["x" * 999] * 20)
        full = tier.write("y")
        subprocess.run(["mount", "-o", "remount,size=64k", str(mount)], check=True)
        healed = tier.write("end")
        tier.close()
        lines = (mount / "app.log").read_bytes().split(b"\n")
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)

    assert list(range(16)) == list(outcome.indices)
    assert errno.ENOSPC == full.error.errno
    assert DELIVERED is healed
    assert [999] * 16 + [384, 3, 0] == [len(line) for line in lines]


def test_four_processes_tear_nothing(log):
    """
    Each batch of several processes on one file stays in one piece.
    """
    script = """
        import sys
        from fallbacks.batch import Batch
        from fallbacks.tiers import FileTier
        tier = FileTier(sys.argv[1])
        for n in range(50):
            tier.write(Batch([(sys.argv[2] * 200 + "\\n").encode()] * 20))
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(log), letter],
            cwd=Path(__file__).parents[3],
        )
        for letter in "abcd"
    ]
    codes = [process.wait() for process in running]
    lines = log.read_bytes().splitlines()

    assert [0] * 4 == codes
    assert 4000 == len(lines)
    assert {letter.encode() * 200 for letter in "abcd"} == set(lines)


def test_real_want_of_descriptors_keeps_the_old_file(appender, log):
    """
    With no descriptor to be had at a rotation, lines go on into the moved file.
    """
    tier = appender(log)
    tier.write("one")
    log.rename(f"{log}.1")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        outcome = tier.write("two")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert DELIVERED is outcome
    assert b"one\ntwo\n" == Path(f"{log}.1").read_bytes()
