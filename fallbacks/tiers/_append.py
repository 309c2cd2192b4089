"""
Appending to a file that is as it was left: one step where that is compiled.

Rule: it does everything or nothing. Where the file is not as expected, or the calls have to go
through another `System` than the real one, the answer is None, and the caller looks for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .._compiled import NATIVE
from ..system import SYSTEM, System

WANTED: Final = b"\1"
"""For a write that nobody gives up."""


def append_known(
    system: System,
    fd: int,
    path: str,
    key: tuple[int, int],
    size: int,
    lines: Sequence[bytes],
    wanted: bytes | bytearray,
) -> tuple[int, int] | None:
    """
    Append *lines* to the open file *fd* if it is the one at *path*, and as it was left.

    Args:
        system: Whose calls to use.
        fd: The descriptor, open for appending.
        path: Where the file should be.
        key: Device and inode that both should lead to.
        size: How long it should be, in bytes.
        lines: What to append, some hundred in one write; never a part of one.
        wanted: One byte; set to 0 by whoever has given up waiting.

    Returns:
        How many bytes were taken, which may be fewer, and how many there are; None where
        nothing was tried.
    """
    if NATIVE is None:
        return None
    if system is not SYSTEM:
        return None
    return NATIVE.append_known(fd, path, key, size, lines, wanted)
