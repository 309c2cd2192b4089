"""
The system calls that durable code makes, behind one Protocol.

Rule 1: whatever touches a file that must survive a crash asks a `System`; only
this module and its portable twin call `os` for it. Tests hand in another one.
Rule 2: everything that is opened is closed on exec, and nothing is followed,
locked or waited for without being asked.
Rule 3: a call fails with `OSError` and in no other way, `Mapping.write` apart.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import Final, Protocol

from ._portable import CommonCalls, PortableSystem

if sys.platform != "win32":
    import fcntl
    import mmap


O_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
O_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700


class FileFacts(Protocol):
    """What is known about a file: the part of `os.stat_result` that is relied on."""

    @property
    def st_dev(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mode(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...
    @property
    def st_uid(self) -> int: ...


class Mapping(Protocol):
    """A file's bytes in memory, shared with the kernel's page cache."""

    def write(self, data: bytes) -> int:
        """
        Put *data* at the current position and move it on, as one step under the GIL.

        Raises:
            ValueError: If it does not fit, or the mapping is closed; nothing is
                written then.
        """

    def tell(self) -> int:
        """Return the current position in bytes."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from *start* up to *stop*."""

    def close(self) -> None:
        """Unmap. Idempotent; the bytes stay in the file."""


class System(Protocol):
    """
    The calls by which durable code sees files, locks and its own process.

    `SYSTEM` is the real one; `fallbacks.testing` has one that fails on demand.
    Every call raises `OSError` when the system refuses.
    """

    def open(self, path: str, flags: int, mode: int = PRIVATE_FILE) -> int:
        """Open *path* close-on-exec and return the descriptor."""

    def close(self, fd: int) -> None:
        """Close *fd*, and with it the lock taken through it."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write once; return how many bytes were taken, which may be fewer."""

    def pread(self, fd: int, n: int, offset: int) -> bytes:
        """Return up to *n* bytes from *offset*; empty at the end."""

    def stat(self, path: str) -> FileFacts:
        """Return facts about what *path* leads to."""

    def lstat(self, path: str) -> FileFacts:
        """Return facts about *path* itself, a link not followed."""

    def fstat(self, fd: int) -> FileFacts:
        """Return facts about the open file."""

    def fchmod(self, fd: int, mode: int) -> None:
        """Set the permission bits of the open file, whatever the umask."""

    def fdatasync(self, fd: int) -> None:
        """Return when the file's bytes are on the disk. Never retry a failed one."""

    def sync_directory(self, path: str) -> None:
        """Return when the names made and removed in *path* are on the disk."""

    def allocate(self, fd: int, size: int) -> None:
        """Reserve *size* bytes for the file, zero-filled; raises where it cannot be."""

    def map(self, fd: int, size: int) -> Mapping:
        """Map *size* bytes of a file open for reading and writing; may be unsupported."""

    def lock(self, fd: int) -> bool:
        """Lock the file for this descriptor at once; False when another holds it."""

    def rename(self, source: str, target: str) -> None:
        """Give *source* the name *target*, replacing what is there."""

    def link(self, source: str, target: str) -> None:
        """Add the name *target*; raises FileExistsError when it is taken."""

    def unlink(self, path: str) -> None:
        """Remove the name *path*."""

    def makedirs(self, path: str, mode: int = PRIVATE_DIRECTORY) -> None:
        """Make *path* and its missing parents with *mode*; it may exist already."""

    def listdir(self, path: str) -> list[str]:
        """Return the names in the directory, sorted."""

    def truncate(self, fd: int, size: int) -> None:
        """Cut or extend the file to *size* bytes."""

    def wait_writable(self, fd: int, seconds: float) -> bool:
        """Wait up to *seconds* until a write would not block; return whether it would not."""

    def await_writers(self, fd: int) -> None:
        """
        Wait for a write that another process is in the middle of, where that can be done.

        *fd* is open for reading only; its offset may change. While a write is
        under way, size and last byte show a part of it.
        """

    def getpid(self) -> int:
        """Return the process id."""

    def getuid(self) -> int:
        """Return the effective user id; 0 where there is no such thing."""

    def boot_id(self) -> str:
        """Return a name for this boot of the machine; empty when unknown."""

    def pid_namespace(self) -> str:
        """Return a name for the space process ids live in; empty when unknown."""

    def process_start(self) -> str:
        """Return when this process started, in ticks since boot; "0" when unknown."""


class PosixSystem(CommonCalls):
    """The real system calls of a POSIX machine. Stateless; any thread may use it."""

    __slots__ = ()

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, n: int, offset: int) -> bytes:
        return os.pread(fd, n, offset)

    def fdatasync(self, fd: int) -> None:
        # macOS has no fdatasync; its fsync is the nearest thing.
        getattr(os, "fdatasync", os.fsync)(fd)

    def sync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def allocate(self, fd: int, size: int) -> None:
        if not hasattr(os, "posix_fallocate"):
            raise OSError(errno.ENOSYS, "this platform cannot reserve space for a file")
        os.posix_fallocate(fd, 0, size)

    def map(self, fd: int, size: int) -> Mapping:
        try:
            return _Map(fd, size)
        except ValueError as error:
            # Asking for more than the file holds is the caller's mistake on a
            # file that somebody cut meanwhile; to the caller that is one failure.
            raise OSError(errno.EINVAL, str(error)) from error

    def lock(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def await_writers(self, fd: int) -> None:
        # Asking for the end of the data takes the lock that a write(2) with
        # O_APPEND holds (ext4, tmpfs); where it does not (xfs), reading does.
        try:
            os.lseek(fd, 0, getattr(os, "SEEK_HOLE", os.SEEK_END))
        except OSError:
            """An empty file has no data to find the end of."""

    def wait_writable(self, fd: int, seconds: float) -> bool:
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        ready = poller.poll(max(0.0, seconds) * 1000)
        return any(events & select.POLLOUT for _, events in ready)


class _Map:
    """A shared mapping of a file; `write` is bound once, it is on the call path."""

    __slots__ = ("_map", "close", "tell", "write")

    def __init__(self, fd: int, size: int) -> None:
        self._map = mmap.mmap(fd, size)
        self.write = self._map.write
        self.tell = self._map.tell
        self.close = self._map.close

    def read(self, start: int, stop: int) -> bytes:
        return self._map[start:stop]


SYSTEM: Final[System] = PosixSystem() if os.name == "posix" else PortableSystem()
"""The machine this process runs on."""
