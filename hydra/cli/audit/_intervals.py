"""
Sets of positive integers that are mostly runs of neighbours.

Rule 1: memory follows the number of holes, not the number of members; a stream
of ten million records without a gap is one pair of integers.
Rule 2: appending the next number, which is what a log in order does, is O(1).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class IntervalSet:
    """
    A set of integers kept as sorted, disjoint, non-touching closed intervals.

    Args:
        intervals: Pairs `(first, last)` to begin with, in any order.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in intervals:
            self.add_range(first, last)

    def add(self, n: int) -> bool:
        """Put *n* in; return whether it is new."""
        lasts = self._lasts
        if lasts and n == lasts[-1] + 1:
            lasts[-1] = n
            return True
        if n in self:
            return False
        self.add_range(n, n)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Put every number from *first* to *last* in, both included."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def update(self, other: IntervalSet) -> None:
        """Put everything that *other* holds in."""
        for first, last in other:
            self.add_range(first, last)

    def overlap(self, other: IntervalSet) -> int:
        """Return how many numbers are in both sets."""
        return len(self) + len(other) - len(union(self, other))

    def minus(self, other: IntervalSet) -> IntervalSet:
        """Return the numbers that are here and not in *other*."""
        result = IntervalSet()
        for first, last in self:
            for hole in other.holes(first, last):
                result.add_range(*hole)
        return result

    def within(self, first: int, last: int) -> IntervalSet:
        """Return the members from *first* to *last*, both included."""
        result = IntervalSet()
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        for i in range(low, high):
            result.add_range(max(first, self._firsts[i]), min(last, self._lasts[i]))
        return result

    def holes(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield, in order, the intervals from *first* to *last* that are not here."""
        at = first
        for i in range(bisect_left(self._lasts, first), len(self._firsts)):
            if self._firsts[i] > last:
                break
            if self._firsts[i] > at:
                yield at, self._firsts[i] - 1
            at = self._lasts[i] + 1
        if at <= last:
            yield at, last

    @property
    def highest(self) -> int:
        """The greatest member; 0 when there is none."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, n: int) -> bool:
        i = bisect_left(self._lasts, n)
        return i < len(self._firsts) and self._firsts[i] <= n

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __repr__(self) -> str:
        return f"<IntervalSet [{spell(self)}]>"


def union(*sets: IntervalSet) -> IntervalSet:
    """Return a new set of everything in *sets*."""
    result = IntervalSet()
    for each in sets:
        result.update(each)
    return result


def spell(numbers: IntervalSet, limit: int = 8) -> str:
    """Return *numbers* for people, as in `3, 7-9`; at most *limit* intervals."""
    parts = [str(a) if a == b else f"{a}-{b}" for a, b in numbers]
    more = len(parts) - limit
    return ", ".join(parts[:limit]) + (f" and {more} more" if more > 0 else "")
