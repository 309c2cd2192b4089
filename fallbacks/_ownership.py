"""
Files with an owner: made whole and locked, taken over when the owner is dead.

Rule 1: a file gets its name when it is whole and locked. Until then its name
begins with a dot, and an unlocked one is rubbish.
Rule 2: the lock is what decides whether an owner lives: it falls with its
process, whichever way that died, and it holds across containers that share a
directory, where process ids mean nothing.
Rule 3: what is not a regular file of our own user is never read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from stat import S_ISREG
from typing import Final

from .files import lock_in_place, publish, unlink_if_there
from .system import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, PRIVATE_FILE, System

READ_ONLY: Final = os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
"""For a look at a file that anybody may have planted."""

_CREATE: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | O_CLOEXEC | O_NOFOLLOW
_TAKE: Final = os.O_RDWR | os.O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
# How open refuses links, directories, devices without a driver and files of others.
_ALIEN: Final = frozenset(
    {errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM}
)


class Refusal(Enum):
    """Why a file was not taken over."""

    GONE = "gone"
    """There is nothing of this name any more."""
    LOCKED = "locked"
    """Its owner lives, or did until a moment ago."""
    FOREIGN = "foreign"
    """It belongs to another user, or is no regular file."""
    UNREADABLE = "unreadable"
    """The system would not open or lock it."""


def make_owned(
    system: System, path: str, fill: Callable[[int], None], *, durable: bool = False
) -> int:
    """
    Make a private file that nobody sees before it is whole; it is locked on return.

    Args:
        system: Where the file is.
        path: Its name.
        fill: Writes what is in it to the descriptor it is given.
        durable: Put bytes and name on the disk before returning.

    Returns:
        The descriptor, for reading and appending.

    Raises:
        FileExistsError: If *path* is taken, or somebody was at the file meanwhile.
        OSError: If it cannot be made; nothing is left behind then, if possible.
    """
    directory, name = os.path.split(path)
    hidden = os.path.join(directory, f".{name}")
    fd = system.open(hidden, _CREATE, PRIVATE_FILE)
    try:
        system.fchmod(fd, PRIVATE_FILE)
        if not system.lock(fd):
            raise FileExistsError(errno.EEXIST, "held by another process", hidden)
        fill(fd)
        if durable:
            system.fdatasync(fd)
        publish(system, hidden, path)
        if durable:
            system.sync_directory(directory)
    except BaseException:
        # Whatever stopped us, an exception of a signal handler included: a file
        # that nobody knows of must not fill the disk.
        try:
            for ours in (hidden, path):
                with suppress(OSError):
                    _unlink_own(system, fd, ours)
        finally:
            with suppress(OSError):
                system.close(fd)
        raise
    return fd


def _unlink_own(system: System, fd: int, path: str) -> None:
    # Another file may have the name: that was the very reason to give up.
    if lock_in_place(system, fd, path):
        system.unlink(path)


def take_over(system: System, path: str) -> int | Refusal:
    """
    Open and lock a file whose owner is dead.

    Returns:
        The descriptor, for reading and appending, or why there is none. What the
        owner wrote until it died is in the file by now; look at its size again.
    """
    try:
        fd = system.open(path, _TAKE)
    except FileNotFoundError:
        return Refusal.GONE
    except OSError as error:
        return Refusal.FOREIGN if error.errno in _ALIEN else Refusal.UNREADABLE
    refusal: Refusal | None = Refusal.UNREADABLE
    try:
        with suppress(OSError):
            refusal = _refusal(system, fd, path)
    finally:
        if refusal is not None:
            with suppress(OSError):
                system.close(fd)
    return fd if refusal is None else refusal


def _refusal(system: System, fd: int, path: str) -> Refusal | None:
    facts = system.fstat(fd)
    if not S_ISREG(facts.st_mode) or facts.st_uid != system.getuid():
        return Refusal.FOREIGN
    return None if lock_in_place(system, fd, path) else Refusal.LOCKED


def remove_unfinished(system: System, path: str) -> None:
    """
    Remove the hidden name of a file whose maker is dead; the living keep theirs.

    Raises:
        OSError: If it cannot be removed.
    """
    taken = take_over(system, path)
    if isinstance(taken, Refusal):
        return
    try:
        unlink_if_there(system, path)
    finally:
        system.close(taken)
