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
import stat as kinds
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from ._portable import CommonCalls, PortableSystem

if sys.platform != "win32":
    import fcntl
    import mmap

if TYPE_CHECKING:
    from collections.abc import Iterator

O_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
O_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
_CREATE_ATTEMPTS: Final = 8
_KINDS: Final = (
    (kinds.S_ISLNK, "a symbolic link"),
    (kinds.S_ISDIR, "a directory"),
    (kinds.S_ISFIFO, "a FIFO"),
    (kinds.S_ISSOCK, "a socket"),
    (kinds.S_ISCHR, "a character device"),
    (kinds.S_ISBLK, "a block device"),
)


# How often the end of a file that others write to is looked at.
_LOOKS: Final = 8


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


def open_append(
    system: System, path: str, mode: int = PRIVATE_FILE, *, create_parents: bool = True
) -> int:
    """
    Open a regular file for appending, made with exactly *mode* when it is missing.

    A FIFO without a reader does not block, a link is not followed, and the mode
    of a file that was there already is left alone.

    Args:
        system: Where the file is.
        path: The file.
        mode: Permission bits of a new file; the umask does not touch them.
        create_parents: Make missing directories, each 0700.

    Returns:
        The descriptor; the caller closes it.

    Raises:
        OSError: If it cannot be opened, or if *path* is not a regular file; the
            message says what is there instead.
    """
    flags = os.O_WRONLY | os.O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
    fd, created = _open_or_create(system, path, flags, mode, create_parents)
    try:
        facts = system.fstat(fd)
        if not kinds.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, f"not a regular file but {kind_of(facts)}", path)
        if created:
            system.fchmod(fd, mode)
    except BaseException:
        # Whatever stopped us, an exception of a signal handler included, must not
        # leak the descriptor.
        system.close(fd)
        raise
    return fd


def _open_or_create(
    system: System, path: str, flags: int, mode: int, create_parents: bool
) -> tuple[int, bool]:
    for last in _attempts():
        try:
            return system.open(path, flags | os.O_CREAT | os.O_EXCL, mode), True
        except FileExistsError:
            pass
        except FileNotFoundError:
            if not create_parents or last:
                raise
            system.makedirs(os.path.dirname(path) or ".", PRIVATE_DIRECTORY)
            continue
        try:
            return system.open(path, flags, mode), False
        except FileNotFoundError:
            # It went between the two calls: somebody rotates or cleans up.
            if last:
                raise
        except OSError as error:
            raise _named(system, path, error) from error
    raise AssertionError("the last attempt returns or raises")  # pragma: no cover


def _attempts() -> Iterator[bool]:
    yield from (n == _CREATE_ATTEMPTS - 1 for n in range(_CREATE_ATTEMPTS))


def _named(system: System, path: str, error: OSError) -> OSError:
    """Return *error*, or a clearer one when *path* is no regular file."""
    try:
        facts = system.lstat(path)
    except OSError:
        return error
    if kinds.S_ISREG(facts.st_mode):
        return error
    return OSError(error.errno, f"not a regular file but {kind_of(facts)}", path)


def kind_of(facts: FileFacts) -> str:
    """Return in words what a file is, for messages."""
    for is_kind, words in _KINDS:
        if is_kind(facts.st_mode):
            return words
    return "a regular file"


def ends_with_newline(system: System, file: int | str, size: int) -> bool:
    """
    Return whether the byte before *size* is a newline; True for an empty file.

    Args:
        system: Where the file is.
        file: A descriptor open for reading, or a path when the one at hand is
            open for writing only.
        size: The size of the file in bytes.

    Raises:
        OSError: If the file cannot be read.
    """
    if size <= 0:
        return True
    if isinstance(file, int):
        return system.pread(file, 1, size - 1) == b"\n"
    fd = system.open(file, os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    try:
        return system.pread(fd, 1, size - 1) == b"\n"
    finally:
        system.close(fd)


def ends_torn(system: System, path: str, size: int) -> bool:
    """
    Return whether the last line of the file at *path*, seen with *size* bytes, is torn for good.

    A line that another process is just writing looks torn as well. So a missing
    newline counts only when the file has not grown while whoever was writing came
    to an end.

    Raises:
        OSError: If the file cannot be read.
    """
    if size <= 0:
        return False
    fd = system.open(path, os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    try:
        for _ in range(_LOOKS):
            if ends_with_newline(system, fd, size):
                return False
            system.await_writers(fd)
            before, size = size, system.fstat(fd).st_size
            if size == before:
                return not ends_with_newline(system, fd, size)
    finally:
        system.close(fd)
    # Others write faster than we look, and each of them sees to its own lines.
    return False


def write_all(system: System, fd: int, data: bytes) -> tuple[int, OSError | None]:
    """
    Write *data*, going on after short writes.

    Returns:
        How many bytes the kernel has, and the error that stopped it, if one did.
    """
    written = 0
    view = memoryview(data)
    while written < len(data):
        try:
            taken = system.write(fd, view[written:] if written else data)
        except OSError as error:
            return written, error
        if taken <= 0:
            return written, OSError(errno.EIO, "a write took nothing and gave no error")
        written += taken
    return written, None


def publish(system: System, source: str, target: str) -> None:
    """
    Give the finished file *source* its name *target*, never replacing one.

    Where a file cannot have two names, it is renamed after a look at *target*.

    Raises:
        FileExistsError: If *target* is there already.
        OSError: If neither way works; *source* is still there then.
    """
    try:
        system.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        try:
            system.lstat(target)
        except FileNotFoundError:
            system.rename(source, target)
            return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
    system.unlink(source)


def lock_in_place(system: System, fd: int, path: str) -> bool:
    """
    Lock *fd* and return whether *path* is still its name.

    Its owner may have removed the file between our open and our lock; what is
    locked then is a file that no longer counts.
    """
    if not system.lock(fd):
        return False
    try:
        named = system.lstat(path)
    except FileNotFoundError:
        return False
    facts = system.fstat(fd)
    return (named.st_dev, named.st_ino) == (facts.st_dev, facts.st_ino)


def is_private(system: System, directory: str) -> bool:
    """Return whether strangers cannot plant or swap files in *directory*."""
    mode = system.stat(directory).st_mode
    return not mode & kinds.S_IWOTH or bool(mode & kinds.S_ISVTX)


def unlink_if_there(system: System, path: str) -> None:
    """Remove *path*; that it is gone already is as good."""
    with suppress(FileNotFoundError):
        system.unlink(path)
