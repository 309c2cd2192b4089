"""
Ways of writing to a descriptor that others share, without blocking on it.

Rule 1: O_NONBLOCK belongs to the open file, which the shell and other processes
share; it is never set or cleared here.
Rule 2: each way either takes bytes, raises `BlockingIOError` when there is no room,
or raises another `OSError`. `WAYS` says which to try for what, in which order.
"""

from __future__ import annotations

import errno
import os
import stat as kinds
from collections.abc import Callable
from enum import Enum
from typing import Final

from ..system import O_CLOEXEC, O_NONBLOCK, FileFacts, System

# Up to this size a pipe takes a write whole or not at all.
ATOMIC: Final = 4096
# The least that POSIX has room for where a descriptor is said to be writable.
SMALL: Final = 512

# The device behind which every master side of a terminal is, on Linux.
_PTMX: Final = 5 << 8 | 2

_NOT_THIS_WAY: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE}
)


class Way(Enum):
    """How bytes get into a descriptor."""

    PLAIN = "plain"
    """`write(2)`: for regular files, at the offset that all holders share."""

    NOWAIT = "nowait"
    """`pwritev2(2)` with RWF_NOWAIT: this one call does not block."""

    REOPEN = "reopen"
    """A descriptor of our own on the same terminal or pipe, opened non-blocking."""

    SEND = "send"
    """`send(2)` with MSG_DONTWAIT."""

    CAREFUL = "careful"
    """Ask whether there is room, then write a little. Another writer can be faster."""


WAYS: Final[tuple[tuple[Callable[[int], bool], tuple[Way, ...]], ...]] = (
    (kinds.S_ISREG, (Way.PLAIN,)),
    (kinds.S_ISFIFO, (Way.NOWAIT, Way.REOPEN, Way.CAREFUL)),
    (kinds.S_ISSOCK, (Way.NOWAIT, Way.SEND, Way.CAREFUL)),
    (kinds.S_ISCHR, (Way.NOWAIT, Way.REOPEN, Way.CAREFUL)),
)


def ways_for(facts: FileFacts) -> tuple[Way, ...]:
    """Return the ways to try for what a descriptor leads to, best first."""
    for is_kind, ways in WAYS:
        if is_kind(facts.st_mode):
            return ways
    return (Way.CAREFUL,)


def is_not_possible(error: OSError) -> bool:
    """Return whether *error* speaks of the way and not of the descriptor."""
    return error.errno in _NOT_THIS_WAY


def nowait(fd: int, data: bytes) -> int:
    """
    Write without waiting, by a flag of the call itself.

    Raises:
        OSError: As `is_not_possible` says where platform or file lack the flag.
    """
    flag = getattr(os, "RWF_NOWAIT", 0)
    if not flag:
        raise OSError(errno.ENOSYS, "this platform has no RWF_NOWAIT")
    return os.pwritev(fd, [data], -1, flag)


def reopen(system: System, fd: int) -> int:
    """
    Return a non-blocking descriptor of our own on what *fd* leads to.

    Raises:
        OSError: As `is_not_possible` says where that would be another thing or
            cannot be done.
    """
    # Opening the master side of a terminal makes a new terminal, and other
    # devices may do anything when they are opened.
    facts = os.fstat(fd)
    if kinds.S_ISCHR(facts.st_mode) and (not os.isatty(fd) or facts.st_rdev == _PTMX):
        raise OSError(errno.ENOTSUP, "not a device to be opened again")
    flags = os.O_WRONLY | O_NONBLOCK | O_CLOEXEC | getattr(os, "O_NOCTTY", 0)
    try:
        own = system.open(f"/proc/self/fd/{fd}", flags)
    except OSError as error:
        raise OSError(errno.ENOTSUP, f"cannot be opened again: {error}") from error
    if not os.path.samestat(os.fstat(own), facts):
        system.close(own)
        raise OSError(errno.ENOTSUP, "opening it again leads elsewhere")
    return own


def send(fd: int, data: bytes) -> int:
    """
    Send without waiting, by a flag of the call itself.

    Raises:
        OSError: As `is_not_possible` says where it would touch shared flags.
    """
    import socket

    if socket.getdefaulttimeout() is not None or not hasattr(socket, "MSG_DONTWAIT"):
        # With a default timeout Python sets O_NONBLOCK on every socket it is given.
        raise OSError(errno.ENOTSUP, "cannot send without waiting")
    borrowed = socket.socket(fileno=fd)
    try:
        return borrowed.send(data, socket.MSG_DONTWAIT)
    finally:
        borrowed.detach()


def careful(system: System, fd: int, data: bytes) -> int:
    """Write a little where there is room."""
    if not system.wait_writable(fd, 0.0):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return system.write(fd, data[:SMALL])
