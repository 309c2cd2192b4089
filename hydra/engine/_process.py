"""
Whether this is still the process that something was made in.

Rule: the call path asks this at every call, so it costs one access to memory and
no system call, and needs no hook: a fork that Python is not told of, as C code
makes it, is noticed as well.
"""

from __future__ import annotations

import mmap
import os
from typing import Final, Protocol

# Linux fills such a page with zeros in the child of a fork; mmap has no name for it.
_WIPE_ON_FORK: Final = 18


class Home(Protocol):
    """`home[0]` is true where it was made, until set to 0, and in no child of that process."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, value: int, /) -> None: ...


def home() -> Home:
    """Return the mark of this process."""
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE) if os.name == "posix" else None
    try:
        if page is None:
            return _Asking()
        page.madvise(_WIPE_ON_FORK)
    except (OSError, AttributeError):
        return _Asking()
    page[0] = 1
    return page


class _Asking:
    """Where no memory can tell, the system is asked."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, place: int, /) -> int:
        return os.getpid() == self._pid

    def __setitem__(self, place: int, value: int, /) -> None:
        self._pid = os.getpid() if value else 0
