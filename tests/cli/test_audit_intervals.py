"""
Interval sets and the sharing out of declarations, against plain sets.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.cli.audit._cover import Coarse, cover
from hydra.cli.audit._intervals import IntervalSet, spell, union

pytestmark = pytest.mark.unit

numbers = st.sets(st.integers(1, 60), max_size=40)
spans = st.tuples(st.integers(1, 60), st.integers(0, 20)).map(lambda s: (s[0], s[0] + s[1]))


def members(intervals):
    """Return what *intervals* hold as a plain set."""
    return {n for first, last in intervals for n in range(first, last + 1)}


@given(st.lists(st.integers(1, 60)))
def test_add(values):
    """
    Each number is new exactly once, and neighbours become one interval.
    """
    intervals = IntervalSet()
    seen = set()
    for n in values:
        assert (n not in seen) is intervals.add(n)
        seen.add(n)

    assert seen == members(intervals)
    assert len(seen) == len(intervals)
    assert max(seen, default=0) == intervals.highest
    assert all(a[1] + 1 < b[0] for a, b in pairwise(intervals))


@given(numbers, numbers, spans)
def test_set_operations(one, two, span):
    """
    Union, difference, overlap, cuts and holes are those of plain sets.
    """
    a, b = (IntervalSet((n, n) for n in each) for each in (one, two))
    cut = set(range(span[0], span[1] + 1))

    assert one | two == members(union(a, b))
    assert one - two == members(a.minus(b))
    assert len(one & two) == a.overlap(b)
    assert one & cut == members(a.within(*span))
    assert cut - one == members(a.holes(*span))


@given(numbers, st.lists(st.tuples(spans, st.integers(1, 5)), max_size=6))
def test_cover_is_the_best_there_is(holes, declared):
    """
    No way of sharing out the declarations covers more holes.
    """
    ranges = [Coarse(a, b, count, ("drops", "x")) for (a, b), count in declared]
    bare, covered = cover(IntervalSet((n, n) for n in holes), [], ranges)

    assert most(holes, ranges) == sum(covered.values())
    assert len(holes) == len(bare) + sum(covered.values())


def most(holes, ranges):
    """Return how many holes can be covered, by augmenting paths."""
    slots = [each for each in ranges for _ in range(each.count)]
    taken = {}

    def place(hole, tried):
        for i, slot in enumerate(slots):
            if slot.first <= hole <= slot.last and i not in tried:
                tried.add(i)
                if i not in taken or place(taken[i], tried):
                    taken[i] = hole
                    return True
        return False

    return sum(place(hole, set()) for hole in sorted(holes))


def test_spell():
    """
    Intervals are spelt for people, not more of them than can be read.
    """
    intervals = IntervalSet([(1, 1), (3, 5), (9, 9)])

    assert "1, 3-5 and 1 more" == spell(intervals, 2)
    assert "<IntervalSet [1, 3-5, 9]>" == repr(intervals)
