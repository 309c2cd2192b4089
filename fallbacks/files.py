"""
Files for users that must not lose a byte: opening, appending, publishing, locking.

Rule 1: everything goes through a `System`; nothing here calls `os` for a file.
Rule 2: a path may lead to a link, a FIFO or a device that somebody else put there;
such a thing is refused with a message that names it.
"""

from __future__ import annotations

import errno
import os
import stat as kinds
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .system import (
    O_CLOEXEC,
    O_NOFOLLOW,
    O_NONBLOCK,
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    FileFacts,
    System,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def sync_file(system: System, path: str) -> None:
    """
    Return when everything that was written to the file at *path* is on the disk.

    Raises:
        OSError: If it is not, or nobody can say.
    """
    fd = system.open(path, os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    try:
        system.fdatasync(fd)
    finally:
        system.close(fd)
    # A new file is on the disk only when its name is.
    system.sync_directory(os.path.dirname(path))


def unlink_if_there(system: System, path: str) -> None:
    """Remove *path*; that it is gone already is as good."""
    with suppress(FileNotFoundError):
        system.unlink(path)
