"""
Segments taken over for a replay: locked, read, and removed when all is safe elsewhere.

Rule 1: nothing is removed before `finish`; a replay that was interrupted is
repeated, and the target is searched for what it has already.
Rule 2: what cannot be taken over is left exactly as it is and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from fallbacks.files import lock_in_place
from fallbacks.journal.recovery import Recovered, Refusals, adopt
from fallbacks.journal.recovery import inspect as inspect_journals
from fallbacks.system import SYSTEM

from ._leftovers import Place, read_held_segment, segments_in


class Source(Protocol):
    """Lines of a dead process that wait, under a lock that is ours."""

    @property
    def lines(self) -> list[bytes]:
        """The lines, in the order written; a journal's once per destination."""

    def finish(self) -> None:
        """Remove what has been delivered, and unlock."""

    def release(self) -> None:
        """Unlock and leave everything as it is."""


@dataclass(slots=True)
class Left:
    """How many segments were left alone: in use, of others, unreadable."""

    count: int = 0


class JournalSource:
    """The journal segments of one run."""

    def __init__(self, recovered: Recovered) -> None:
        self._recovered = recovered
        self.lines = [line for lines in recovered.pending.values() for line in lines]

    def finish(self) -> None:
        """As `Source.finish`."""
        self._recovered.finish()

    def release(self) -> None:
        """As `Source.release`."""
        self._recovered.release()


@dataclass(slots=True)
class HeldSource:
    """One held segment; a damaged one is kept under the name `<name>.bad`."""

    path: str
    fd: int
    lines: list[bytes]
    damaged: bool
    _open: bool = field(default=True)

    def finish(self) -> None:
        """As `Source.finish`."""
        try:
            if self.damaged:
                os.rename(self.path, self.path + ".bad")
            else:
                os.unlink(self.path)
        finally:
            self.release()

    def release(self) -> None:
        """As `Source.release`. Idempotent."""
        if self._open:
            self._open = False
            os.close(self.fd)


def sources(places: Iterable[Place], destination: str | None, left: Left) -> Iterator[Source]:
    """
    Take over the segments in *places*, one run or held segment at a time.

    Args:
        places: Where to look.
        destination: Only what waits for this one; None: whatever waits.
        left: Counts what was left alone.

    Returns:
        An iterator over sources, each to be ended by `finish` or `release`.

    Raises:
        OSError: If a directory cannot be read.
    """
    return _taken_over(segments_in(places), destination, left)


def _taken_over(
    found: dict[str, list[str]], destination: str | None, left: Left
) -> Iterator[Source]:
    for base, names in found.items():
        if any(name.endswith(".j") for name in names):
            yield from _journals(base, destination, left)
        for name in names:
            if name.endswith(".held"):
                source = _take_held(os.path.join(base, name), destination, left)
                if source is not None:
                    yield source


def _journals(base: str, destination: str | None, left: Left) -> Iterator[Source]:
    facts = inspect_journals(base)
    refusals = Refusals()
    for app in sorted({each.app for each in facts}):
        waiting = {name for each in facts if each.app == app for name in each.unacknowledged}
        wanted = waiting if destination is None else {destination}
        for recovered in adopt(base, app=app, destinations=wanted, refusals=refusals):
            yield JournalSource(recovered)
    left.count += refusals.foreign + refusals.newer + refusals.locked + refusals.unreadable


def _take_held(path: str, destination: str | None, left: Left) -> HeldSource | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        left.count += 1
        return None
    kept = False
    try:
        if os.fstat(fd).st_uid != os.geteuid() or not lock_in_place(SYSTEM, fd, path):
            left.count += 1
            return None
        contents = read_held_segment(path)
        if destination is not None and destination not in contents.destinations:
            return None
        kept = True
        return HeldSource(path, fd, list(contents.waiting), bool(contents.damaged))
    except OSError:
        left.count += 1
        return None
    finally:
        if not kept:
            os.close(fd)
