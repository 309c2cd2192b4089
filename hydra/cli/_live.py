"""
Processes that publish their statistics: found, read, and compared with what they said before.

Rule 1: a file that somebody has locked is of a living process; one that nobody has
locked is what a dead one said last.
Rule 2: what is not a reading (damaged, of another version, of another user) is left
alone; it never stops the others from being shown.
"""

from __future__ import annotations

import os
import stat as kinds
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from fallbacks.system import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, SYSTEM

from ..config import Settings
from ..config._state import Candidate, candidates
from ..metrics import DestinationStats
from ..metrics._live import DIRECTORY, LARGEST, SUFFIX, Reading, decode

_LATE: Final = 5.0
"""Intervals without a reading after which a living process counts as silent."""


class Process(NamedTuple):
    """One run of one process as it was found."""

    reading: Reading
    alive: bool


def directories(
    settings: Settings, app: str | None, environ: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the directories with readings, by root; those of all apps when *app* is None."""
    places = candidates(
        app or settings.app,
        settings.state_dir,
        environ,
        os.geteuid(),
        lambda: os.path.expanduser("~"),
    )
    found: dict[str, list[str]] = {}
    for place in places:
        if not isinstance(place, Candidate):
            continue
        apps = [app] if app is not None else _names(place.root)
        found[place.root] = [os.path.join(place.root, each, DIRECTORY) for each in apps]
    return found


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        # Not there, or not ours to look into: nobody publishes there.
        return []


def processes(places: Iterable[str]) -> list[Process]:
    """Return what is published in the directories *places*, by app, process and run."""
    found = [
        each
        for place in places
        for name in _names(place)
        if name.endswith(SUFFIX) and not name.startswith(".")
        for each in [read(os.path.join(place, name))]
        if each is not None
    ]
    return sorted(found, key=lambda each: (each.reading.app, each.reading.pid, each.reading.began))


def read(path: str) -> Process | None:
    """Return the process that publishes at *path*; None when there is no reading of ours."""
    try:
        fd = os.open(path, os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    except OSError:
        return None
    try:
        facts = os.fstat(fd)
        if not kinds.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
            return None
        reading = decode(os.pread(fd, min(facts.st_size, LARGEST), 0))
        # Asked last: who died after the reading is dead.
        return None if reading is None else Process(reading, not SYSTEM.lock(fd))
    except OSError:
        return None
    finally:
        os.close(fd)


class Rates(NamedTuple):
    """What one destination did per second between two readings."""

    accepted: float
    delivered: float
    dropped: float
    tiers: tuple[float, ...]


class Shown(NamedTuple):
    """A process with what came of comparing it with what it said before."""

    process: Process
    state: str
    """`live`, `silent` (no reading of late) or `dead`."""
    age: float
    """Seconds since its last reading."""
    rates: Mapping[str, Rates]
    """By destination; empty before the second reading."""
    unbalanced: frozenset[str]
    """Destinations whose books were out by the same number in two readings."""


class History:
    """The last two readings of each run."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Reading | None, Reading]] = {}

    def look(self, found: Iterable[Process], now: int) -> list[Shown]:
        """Return *found* beside what was found before; *now* in nanoseconds since the epoch."""
        shown = []
        last: dict[str, tuple[Reading | None, Reading]] = {}
        for process in found:
            reading = process.reading
            before, newest = self._last.get(reading.run, (None, reading))
            if reading.time > newest.time:
                before, newest = newest, reading
            last[reading.run] = (before, newest)
            age = max(0.0, (now - newest.time) / 1e9)
            late = age > _LATE * reading.interval
            shown.append(
                Shown(
                    process,
                    "dead" if not process.alive else "silent" if late else "live",
                    age,
                    rates(before, newest),
                    unbalanced(before, newest),
                )
            )
        self._last = last
        return shown


def rates(before: Reading | None, after: Reading) -> dict[str, Rates]:
    """Return what happened per second between two readings, by destination."""
    if before is None:
        return {}
    seconds = (after.time - before.time) / 1e9
    pairs = _pairs(before, after)
    return {
        new.name: Rates(
            (new.accepted - old.accepted) / seconds,
            (new.delivered - old.delivered) / seconds,
            (new.dropped - old.dropped) / seconds,
            tuple(
                (b.delivered - a.delivered) / seconds
                for a, b in zip(old.tiers, new.tiers, strict=False)
            ),
        )
        for old, new in pairs
    }


def unbalanced(before: Reading | None, after: Reading) -> frozenset[str]:
    """
    Return the destinations whose books do not balance.

    A reading is made while records are under way, so one alone proves nothing: a
    difference that is really one stands in the next reading, too.
    """
    if before is None:
        return frozenset()
    return frozenset(
        new.name for old, new in _pairs(before, after) if new.lost and new.lost == old.lost
    )


def _pairs(before: Reading, after: Reading) -> list[tuple[DestinationStats, DestinationStats]]:
    former = before.stats.destinations
    return [(former[name], new) for name, new in after.stats.destinations.items() if name in former]
