from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks import Meter

pytestmark = pytest.mark.unit


def test_fresh_meter_knows_no_percentile() -> None:
    """
    Without an attempt there is nothing to tell.
    """
    assert None is Meter().percentile(0.5)


def test_attempts_and_failures_are_counted_apart() -> None:
    """
    A failed attempt is an attempt, too, and its error is remembered.
    """
    meter = Meter()
    meter.record(0.5)
    meter.record(0.25)
    meter.fail("broken")

    assert (2, 1, "broken", 0.75) == (
        meter.attempts,
        meter.failed,
        meter.last_error,
        meter.seconds,
    )


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-6, 1e9])
def test_odd_durations_find_a_bucket(seconds: float) -> None:
    """
    A clock that went back and a call that took years are counted all the same.
    """
    meter = Meter()
    meter.record(seconds)

    assert (1, True) == (sum(meter.buckets), meter.percentile(1.0) is not None)


@given(st.lists(st.floats(1e-6, 100.0), min_size=1), st.floats(0.01, 1.0))
def test_percentile_is_a_bound_within_a_factor_of_two(times: list[float], share: float) -> None:
    """
    At least the share took at most that long, and half of it would be too little.
    """
    meter = Meter()
    for seconds in times:
        meter.record(seconds)
    bound = meter.percentile(share)

    assert bound is not None
    assert sum(1 for seconds in times if seconds <= bound) >= share * len(times)
    assert sum(1 for s in times if s < bound / 2 - 1e-6) < max(share * len(times), 1)


@pytest.mark.parametrize("power", [4, 10, 26])
def test_bound_of_a_bucket_belongs_to_it(power: int) -> None:
    """
    A histogram counts what took at most so long, the bound itself included.
    """
    meter = Meter()
    for seconds in (2**power / 1e6, 2**power / 1e6 + 1e-6, 1e6):
        meter.record(seconds)
    found = dict(meter.histogram())

    assert (1, 3) == (found[2**power / 1e6], found[math.inf])
    assert sorted(found.values()) == list(found.values())


def test_throughput_is_lines_for_the_time_spent() -> None:
    """
    Idle time does not count.
    """
    meter = Meter()

    assert None is meter.throughput

    meter.record(0.5)
    meter.taken += 100

    assert 200.0 == meter.throughput


def test_changes_of_the_breaker_are_remembered() -> None:
    """
    Only changes, with their times, and only the last of them.
    """
    meter = Meter()
    times = iter(range(100))
    for state in ["closed", "open", "open", "probing", "closed"]:
        meter.note_state(state, lambda: next(times))

    assert ((0, "open"), (1, "probing"), (2, "closed")) == meter.changes

    for number in range(40):
        meter.note_state(("open", "probing")[number % 2], lambda: next(times))

    assert (16, 42) == (len(meter.changes), meter.changes[-1].time_ns)
