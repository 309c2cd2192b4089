from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stats import best, percentile, percentiles, ratio, spread

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (90, 90), (99, 99), (99.9, 100), (100, 100), (0, 1)]
)
def test_percentile_of_a_hundred(percent: float, expected: int) -> None:
    """
    Of the numbers 1 to 100 a percentile is the number of that name, rounded up.
    """
    assert expected == percentile(range(1, 101), percent)


@given(st.lists(st.integers(), min_size=1), st.floats(0.0, 100.0))
def test_percentile_is_a_value_with_that_share_below_or_equal(
    values: list[int], percent: float
) -> None:
    """
    A percentile was measured, enough values are not above it, and no smaller one will do.
    """
    ordered = sorted(values)
    found = percentile(ordered, percent)
    needed = len(ordered) * percent / 100

    assert found in ordered
    assert sum(value <= found for value in ordered) >= needed
    assert found == ordered[0] or sum(value < found for value in ordered) < needed


def test_one_slow_call_of_a_thousand_is_the_maximum_only() -> None:
    """
    The tail is not smoothed: one stall shows in the maximum and not in the middle.
    """
    found = percentiles([1.0] * 999 + [500.0])

    assert (1.0, 1.0, 1.0, 1.0, 500.0) == tuple(found.values())


def test_nothing_measured_is_refused() -> None:
    """
    There is no percentile and no median of nothing.
    """
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_spread_keeps_the_ends() -> None:
    """
    The spread of rounds is their median between the lowest and the highest.
    """
    found = spread([3.0, 1.0, 9.0])

    assert (3.0, 1.0, 9.0, 3) == (found.median, found.low, found.high, found.rounds)


def test_ratio_to_nothing_is_none() -> None:
    """
    Nothing is so many times zero: a ratio to it is left out, not infinite.
    """
    assert (2.0, None) == (ratio(4.0, 2.0), ratio(4.0, 0.0))


def test_best_depends_on_what_is_better() -> None:
    """
    The best is the most of a rate and the least of a time.
    """
    values = {"a": 1.0, "b": 3.0, "c": 2.0}

    assert ("b", "a", None) == (
        best(values, more=True),
        best(values, more=False),
        best({}, more=True),
    )
