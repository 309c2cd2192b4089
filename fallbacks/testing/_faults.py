"""
What shall go wrong: planned faults, counted by the operations that pass.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

# Using memory that is mapped is no system call; it cannot return an error.
_NEVER_FAILS: Final = frozenset({"map_write", "map_read"})


class Killed(BaseException):
    """The process was killed; not an Exception, so that no code outlives its death."""


def refused(number: int, path: str) -> OSError:
    """Return the error *number* as the system would raise it for *path*."""
    return OSError(number, os.strerror(number), path)


@dataclass(slots=True)
class Fault:
    """
    One planned fault.

    Args:
        operation: The operation that fails, or `*` for any that can.
        error: The errno.
        when: The first matching operation from now that fails, from 1.
        times: How many fail from there on; None for ever.
        path: A pattern for the path; None for any.
    """

    operation: str
    error: int
    when: int
    times: int | None
    path: str | None
    _seen: int = 0

    def strikes(self, operation: str, path: str) -> bool:
        """Count an operation if it matches, and return whether it fails."""
        if self.operation == "*":
            if operation in _NEVER_FAILS:
                return False
        elif self.operation != operation:
            return False
        if self.path is not None and not fnmatchcase(path, self.path):
            return False
        self._seen += 1
        past = self._seen - self.when
        return past >= 0 and (self.times is None or past < self.times)


@dataclass(slots=True)
class Schedule:
    """All planned faults, and how many operations of each name have passed."""

    faults: list[Fault] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def enter(self, operation: str, path: str) -> None:
        """
        Let the faults see an operation.

        Raises:
            OSError: If a fault strikes it; the one that was planned first.
        """
        # Every fault counts, struck or not, so that two plans do not shift each other.
        struck = [fault for fault in self.faults if fault.strikes(operation, path)]
        if struck:
            raise refused(struck[0].error, path)
