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
from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from typing import Final

from msgspec import Struct

from .clock import Clock

# Ranges kept per report and stream. Behind that, ranges grow coarse: they say
# how many of their numbers are missing, but no longer which.
_RANGES: Final = 256


class Range(Struct, frozen=True):
    """*count* numbers out of first..last of one stream were dropped, for one reason."""

    stream: str
    first: int
    last: int
    count: int
    level: str
    reason: str


class Report(Struct, frozen=True):
    """
    The drops since the last report: *count* lines between *since* and *until*.

    Both are nanoseconds since the epoch.
    """

    ranges: tuple[Range, ...]
    count: int
    since: int
    until: int


class Balance(Struct, frozen=True):
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

    What a signal handler raises in the middle of it costs no count: a note is
    taken, and a lock is got, by a `for` loop over a C function, which leaves no
    room for a signal before the result is stored; and a note is counted by the
    assignment that also says so.

    Args:
        clock: Stamps the time span of a report.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fresh: deque[tuple[str, int, str, str]] = deque()
        self._folding = allocate_lock()
        self._ranges: dict[tuple[str, str, str], list[Range]] = {}
        self._reported: Counter[tuple[str, str]] = Counter()
        self._since = 0
        self._noting: tuple[str, int, str, str] | None = None

    def note(self, stream: str, number: int, level: str, reason: str) -> None:
        """Count number *number* of *stream* as dropped because of *reason*."""
        self._fresh.append((stream, number, level, reason))
        self.fold()

    @property
    def defer(self) -> Callable[[tuple[str, int, str, str]], None]:
        """
        The function in C that takes the arguments of `note` as one tuple.

        For callers who must not be interrupted before the drop is counted; they
        call `fold` afterwards.
        """
        return self._fresh.append

    def fold(self) -> None:
        """
        Move fresh notes into the tally, if nobody else is doing so.

        A signal handler that lands in the middle fails to get the lock and
        leaves its note for the next one to fold.
        """
        while self._fresh or self._noting is not None:
            held = False
            try:
                for held in map(self._folding.acquire, (False,)):  # pragma: no branch
                    break
                if not held:
                    return
                self._fold()
            finally:
                if held:  # pragma: no branch
                    self._folding.release()

    @property
    def total(self) -> int:
        """Lines dropped so far."""
        return self._tally().total()

    @property
    def unreported(self) -> bool:
        """Whether there are drops that no report has told yet."""
        self.fold()
        return bool(self._ranges)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the dropped lines by (level, reason)."""
        return dict(self._tally())

    def report(self) -> Report | None:
        """Return what was dropped since the last report, None when nothing was."""
        self.fold()
        held = False
        try:
            for held in map(self._folding.acquire, (False,)):  # pragma: no branch
                break
            if not held or not self._ranges:
                return None
            ranges = tuple(r for ranges in self._ranges.values() for r in ranges)
            reported = self._reported + _counted(ranges)
            report = Report(
                ranges, sum(r.count for r in ranges), self._since, self._clock.time_ns()
            )
            self._ranges, self._reported = {}, reported
            return report
        finally:
            if held:
                self._folding.release()

    def _tally(self) -> Counter[tuple[str, str]]:
        self.fold()
        reported, ranges = self._reported, self._ranges
        while reported is not self._reported:
            # Between the two a report moved drops from the one to the other.
            reported, ranges = self._reported, self._ranges
        return reported + _counted(r for rows in list(ranges.values()) for r in list(rows))

    def _fold(self) -> None:
        self._count()
        # An attribute, so that what was taken is not lost when a signal raises here.
        for self._noting in map(deque.popleft, repeat(self._fresh, len(self._fresh))):  # noqa: B020 - see above
            self._count()

    def _count(self) -> None:
        if self._noting is None:
            return
        stream, number, level, reason = self._noting
        if not self._ranges:
            self._since = self._clock.time_ns()
        key = (stream, level, reason)
        rows = self._ranges.get(key, [])
        last = rows[-1] if rows else None
        if last is None or (number != last.last + 1 and len(rows) < _RANGES):
            fresh = [*rows, Range(stream, number, number, 1, level, reason)]
            self._ranges[key], self._noting = fresh, None
        else:
            first, until = min(last.first, number), max(last.last, number)
            wider = Range(stream, first, until, last.count + 1, level, reason)
            rows[-1], self._noting = wider, None


def _counted(ranges: Iterable[Range]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for each in ranges:
        found[each.level, each.reason] += each.count
    return found
