from __future__ import annotations

from collections.abc import Set as AbstractSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.bisection import Bisection

pytestmark = pytest.mark.unit


def search(lines: int, bad: AbstractSet[int], most: int) -> tuple[set[int], list[int]]:
    """Offer *lines* to a tier that takes *most* at once; return what it refuses, and the sizes."""
    bisection = Bisection()
    found: set[int] = set()
    sizes: list[int] = []
    at = 0
    while at < lines:
        size = lines - at if bisection.size is None else min(bisection.size, lines - at)
        sizes.append(size)
        if size <= most and not bad.intersection(range(at, at + size)):
            bisection.took(size)
            at += size
        elif size == 1:
            found.add(at)
            bisection.found()
            at += 1
        else:
            bisection.refused(size)
    return found, sizes


@given(st.integers(1, 300), st.sets(st.integers(0, 299), max_size=6), st.integers(1, 300))
def test_each_bad_line_is_found(lines: int, bad: set[int], most: int) -> None:
    """
    Whatever a tier takes at once, the lines that are refused alone are the bad ones.
    """
    bad = {line for line in bad if line < lines}
    found, sizes = search(lines, bad, most)

    assert bad == found
    assert len(sizes) <= 3 * lines + 1


@pytest.mark.parametrize("bad", [0, 511, 1023])
def test_one_bad_line_costs_a_few_calls(bad: int) -> None:
    """
    One line in 1,024 is found in one call for each halving.
    """
    found, sizes = search(1024, {bad}, 1024)

    assert {bad} == found
    assert 11 == sizes.index(1) + 1


def test_lines_that_are_only_too_many_at_once() -> None:
    """
    Where nothing is bad, what the tier takes at once is learned once and kept to.
    """
    _, sizes = search(1000, set(), 300)

    assert [1000, 500, 250] == sizes[:3]
    assert [250, 250] == sizes[-2:]
