"""
The ledger: where every delivery of one destination ended.

Rule 1: the unit is a delivery, one line for one destination.
Rule 2: every counter has one writer. `delivered` and `replayed` belong to the
ticket holder; drops come from any thread, so they are noted in a queue that is
atomic in C and folded by one thread at a time.
Rule 3: what is pending is counted by looking at what is held, never by
subtraction; `Balance.lost` is where both ways of counting disagree.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .clock import Clock

# Ranges kept per report and stream. Behind that, ranges grow coarse: they say
# how many of their numbers are missing, but no longer which.
_RANGES: Final = 256


@dataclass(slots=True)
class Range:
    """*count* numbers out of first..last of one stream were dropped, for one reason."""

    stream: str
    first: int
    last: int
    count: int
    level: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """
    The drops since the last report: *count* lines between *since* and *until*.

    Both are nanoseconds since the epoch.
    """

    ranges: tuple[Range, ...]
    count: int
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Balance:
    """
    A reading of one destination's ledger.

    `routed` is what was accepted for it, lines taken over from dead processes
    included; `lost` is what no place accounts for. At a quiet moment it is 0,
    or somebody has a bug to find; under way it may be off by the calls in flight.
    """

    routed: int
    delivered: int
    dropped: int
    pending: int
    replayed: int
    drops: Mapping[tuple[str, str], int]
    """Dropped lines by (level, reason)."""

    @property
    def lost(self) -> int:
        """Deliveries that are neither delivered nor dropped nor pending."""
        return self.routed - self.delivered - self.dropped - self.pending

    @property
    def balanced(self) -> bool:
        """Whether everything is accounted for."""
        return self.lost == 0


class Drops:
    """
    Tally of drops; `note` may be called from any thread, also in a signal handler.

    Args:
        clock: Stamps the time span of a report.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fresh: deque[tuple[str, int, str, str]] = deque()
        self._folding = allocate_lock()
        self._ranges: dict[tuple[str, str, str], list[Range]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._reported = 0
        self._total = 0
        self._since = 0

    def note(self, stream: str, number: int, level: str, reason: str) -> None:
        """Count number *number* of *stream* as dropped because of *reason*."""
        self._fresh.append((stream, number, level, reason))
        self.fold()

    def fold(self) -> None:
        """
        Move fresh notes into the tally, if nobody else is doing so.

        A signal handler that lands in the middle fails to get the lock and
        leaves its note for the next one to fold.
        """
        while self._fresh and self._folding.acquire(False):
            try:
                self._fold()
            finally:
                self._folding.release()

    @property
    def total(self) -> int:
        """Lines dropped so far."""
        self.fold()
        return self._total

    @property
    def unreported(self) -> bool:
        """Whether there are drops that no report has told yet."""
        self.fold()
        return self._total > self._reported

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the dropped lines by (level, reason)."""
        self.fold()
        return dict(self._counts)

    def report(self) -> Report | None:
        """Return what was dropped since the last report, None when nothing was."""
        self.fold()
        if not self._folding.acquire(False):
            return None
        try:
            count = self._total - self._reported
            if not count:
                return None
            ranges = tuple(r for ranges in self._ranges.values() for r in ranges)
            self._ranges = {}
            self._reported = self._total
            return Report(ranges, count, self._since, self._clock.time_ns())
        finally:
            self._folding.release()

    def _fold(self) -> None:
        fresh = self._fresh
        while fresh:
            stream, number, level, reason = fresh.popleft()
            if not self._ranges:
                self._since = self._clock.time_ns()
            ranges = self._ranges.setdefault((stream, level, reason), [])
            last = ranges[-1] if ranges else None
            if last is None or (number != last.last + 1 and len(ranges) < _RANGES):
                ranges.append(Range(stream, number, number, 1, level, reason))
            else:
                last.first = min(last.first, number)
                last.last = max(last.last, number)
                last.count += 1
            self._counts[level, reason] += 1
            self._total += 1
