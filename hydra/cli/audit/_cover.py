"""
Which holes of a stream the ledger has declared.

Rule 1: an exact declaration (as many records as its range has numbers) covers
every hole in its range.
Rule 2: a coarse one covers at most `count` holes, and each hole is covered
once. Holes are given, in order, to the open range that ends first, which
covers as many as any way of sharing them out can.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

from ._intervals import IntervalSet


@dataclass(frozen=True, slots=True)
class Coarse:
    """At most *count* of the numbers from *first* to *last*, declared under *label*."""

    first: int
    last: int
    count: int
    label: tuple[str, str]


def cover(
    holes: IntervalSet,
    exact: Iterable[tuple[tuple[str, str], IntervalSet]],
    coarse: Iterable[Coarse],
) -> tuple[IntervalSet, dict[tuple[str, str], int]]:
    """
    Return the holes nobody declared, and how many each label covers.

    Args:
        holes: The numbers that were not found.
        exact: Labels with the numbers they declare, all of them.
        coarse: The declarations that name a range and a smaller count.
    """
    covered: dict[tuple[str, str], int] = {}
    for label, numbers in exact:
        rest = holes.minus(numbers)
        _count(covered, label, len(holes) - len(rest))
        holes = rest
    waiting = sorted(coarse, key=lambda each: each.first, reverse=True)
    open_ranges: list[tuple[int, int, Coarse]] = []
    left: list[int] = []
    bare = IntervalSet()
    for first, last in holes:
        at = first
        while at <= last:
            while waiting and waiting[-1].first <= at:
                each = waiting.pop()
                heappush(open_ranges, (each.last, len(left), each))
                left.append(each.count)
            while open_ranges and (open_ranges[0][0] < at or not left[open_ranges[0][1]]):
                heappop(open_ranges)
            stop = min(last, waiting[-1].first - 1) if waiting else last
            if not open_ranges:
                bare.add_range(at, stop)
                at = stop + 1
                continue
            end, index, each = open_ranges[0]
            taken = min(min(stop, end) - at + 1, left[index])
            left[index] -= taken
            _count(covered, each.label, taken)
            at += taken
    return bare, covered


def _count(covered: dict[tuple[str, str], int], label: tuple[str, str], more: int) -> None:
    if more:
        covered[label] = covered.get(label, 0) + more
