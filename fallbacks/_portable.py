"""
The portable twin of the system calls: what every platform has.

Rule 1: no call here needs POSIX. Where a promise cannot be had this way (names
on the disk, reserved space, a mapping), it is refused with `OSError` or noted
at the method, never pretended.
Rule 2: a lock is a file next to the locked one, named after its inode, so that
it holds through renames and for every name of the file.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .system import Mapping

_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_PID_NAMESPACE: Final = "/proc/self/ns/pid"
_OWN_STAT: Final = "/proc/self/stat"
# Bytes that a line of these files has at most.
_LINE: Final = 4_096
# Counted behind the command name, which may itself contain spaces and brackets.
_START_FIELD: Final = 19
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)
_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
# Windows removes such a file when its last handle goes, by death included.
_VANISHING: Final[int] = getattr(os, "O_TEMPORARY", 0)


class CommonCalls:
    """The calls that need no twin: the same on every platform."""

    __slots__ = ()

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        return os.open(path, flags | _CLOEXEC | _BINARY, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        return os.write(fd, data)

    def stat(self, path: str) -> os.stat_result:
        return os.stat(path)

    def lstat(self, path: str) -> os.stat_result:
        return os.lstat(path)

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def fchmod(self, fd: int, mode: int) -> None:
        if hasattr(os, "fchmod"):
            os.fchmod(fd, mode)

    def await_writers(self, fd: int) -> None:
        """Nothing is known here that waits; a blank line too many is harmless."""

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def makedirs(self, path: str, mode: int = 0o700) -> None:
        # os.makedirs gives the mode to the last directory only.
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path.rstrip(os.sep))
        if parent and parent != path:
            self.makedirs(parent, mode)
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not os.path.isdir(path):
                raise NotADirectoryError(
                    errno.ENOTDIR, "not a directory, but one is needed here", path
                ) from None

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def getpid(self) -> int:
        return os.getpid()

    def getuid(self) -> int:
        return os.geteuid() if hasattr(os, "geteuid") else 0

    def boot_id(self) -> str:
        return _first_line(_BOOT_ID)

    def pid_namespace(self) -> str:
        try:
            return os.readlink(_PID_NAMESPACE)
        except OSError:
            return ""

    def process_start(self) -> str:
        fields = _first_line(_OWN_STAT).rpartition(")")[2].split()
        return fields[_START_FIELD] if len(fields) > _START_FIELD else "0"


class PortableSystem(CommonCalls):
    """
    System calls for a platform without flock, fdatasync, fallocate and mappings.

    It remembers which descriptor has which lock file; the descriptors of one
    lock must not be closed and opened by two threads at the same time.
    """

    __slots__ = ("_locks", "_paths")

    def __init__(self) -> None:
        self._paths: dict[int, str] = {}
        self._locks: dict[int, tuple[int, str, int]] = {}

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        fd = super().open(path, flags, mode)
        self._paths[fd] = os.path.abspath(path)
        return fd

    def close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        held = self._locks.pop(fd, None)
        os.close(fd)
        if held is not None:
            lock_fd, name, owner = held
            os.close(lock_fd)
            # After a fork the child has the parent's table; the lock is not its own.
            if owner == os.getpid():
                with suppress(FileNotFoundError):
                    os.unlink(name)

    def pread(self, fd: int, n: int, offset: int) -> bytes:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, n)

    def fdatasync(self, fd: int) -> None:
        os.fsync(fd)

    def sync_directory(self, path: str) -> None:
        """Check that the directory is there: names cannot be synced portably."""
        os.stat(path)

    def allocate(self, fd: int, size: int) -> None:
        raise OSError(errno.ENOSYS, "this platform cannot reserve space for a file")

    def map(self, fd: int, size: int) -> Mapping:
        raise OSError(errno.ENOSYS, "no file is mapped on this platform")

    def lock(self, fd: int) -> bool:
        if fd in self._locks:
            return True
        facts = os.fstat(fd)
        directory = os.path.dirname(self._paths[fd])
        name = os.path.join(directory, f".{facts.st_dev:x}-{facts.st_ino:x}.lock")
        lock_fd = self._make_lock(name)
        if lock_fd is None:
            return False
        self._locks[fd] = (lock_fd, name, os.getpid())
        return True

    def _make_lock(self, name: str) -> int | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC | _BINARY | _VANISHING
        for _ in range(2):
            try:
                fd = os.open(name, flags, 0o600)
            except FileExistsError:
                if not _clear_stale(name):
                    return None
            else:
                os.write(fd, f"{os.getpid()}\n".encode())
                return fd
        return None

    def wait_writable(self, fd: int, seconds: float) -> bool:
        try:
            return bool(select.select([], [fd], [], max(0.0, seconds))[1])
        except (OSError, ValueError):
            # Only sockets can be waited for here, or the number is too high for
            # select; the write itself will say more.
            return True


def _clear_stale(name: str) -> bool:
    """Remove a dead owner's lock file; return whether the name is free now."""
    if _VANISHING or _owner_lives(name):
        return False
    # Renamed before it is judged again: two finders of one stale lock must not
    # remove the fresh lock that the quicker of them has made.
    aside = f"{name}.{os.getpid()}"
    try:
        os.rename(name, aside)
    except FileNotFoundError:
        return True
    if _owner_lives(aside):
        os.rename(aside, name)
        return False
    os.unlink(aside)
    return True


def _owner_lives(name: str) -> bool:
    text = _first_line(name)
    if not text.isdigit():
        # Made a moment ago and not yet signed, or gone: take it for alive.
        return os.path.exists(name)
    try:
        os.kill(int(text), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return sys.platform != "win32"
    return True


def _first_line(path: str) -> str:
    try:
        # No file object: one that a signal handler's exception leaves behind complains.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            data = os.read(fd, _LINE)
        finally:
            os.close(fd)
    except OSError:
        return ""
    return data.partition(b"\n")[0].decode("utf-8", "replace").strip()
