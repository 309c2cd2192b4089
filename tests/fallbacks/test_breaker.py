from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.breaker import MOVES, Breaker, Event, State

pytestmark = pytest.mark.unit


@pytest.fixture(name="tripped")
def _tripped() -> Breaker:
    """A breaker that opened at second 10 and rests for one second."""
    breaker = Breaker(threshold=2, rest=1.0, longest=3.0)
    breaker.failed(9.0)
    breaker.failed(10.0)
    return breaker


def test_healthy_breaker_lets_everything_pass() -> None:
    """
    A closed breaker never waits, and beginning an attempt does not change it.
    """
    breaker = Breaker()
    breaker.begin(5.0)

    assert (True, 0.0, State.CLOSED) == (breaker.allows(0.0), breaker.wait(0.0), breaker.state)


def test_breaker_opens_at_its_threshold() -> None:
    """
    Failures in a row open it, one fewer does not.
    """
    breaker = Breaker(threshold=3)
    states = []
    for now in range(3):
        breaker.failed(float(now))
        states.append(breaker.state)

    assert [State.CLOSED, State.CLOSED, State.OPEN] == states
    assert 1 == breaker.opened


def test_success_forgets_the_streak() -> None:
    """
    Only failures in a row count.
    """
    breaker = Breaker(threshold=2)
    breaker.failed(0.0)
    breaker.succeeded()
    breaker.failed(1.0)

    assert State.CLOSED is breaker.state


def test_open_breaker_waits_for_the_end_of_its_rest(tripped: Breaker) -> None:
    """
    Nothing passes until the rest is over; at that very moment a probe may.
    """
    assert (False, 0.25) == (tripped.allows(10.75), tripped.wait(10.75))
    assert (True, 0.0) == (tripped.allows(11.0), tripped.wait(11.0))
    assert State.OPEN is tripped.state


def test_beginning_too_early_is_no_probe(tripped: Breaker) -> None:
    """
    Only an attempt after the rest counts as a probe.
    """
    tripped.begin(10.5)

    assert State.OPEN is tripped.state


def test_probe_that_succeeds_closes(tripped: Breaker) -> None:
    """
    One success after the rest heals the breaker, and the next rest is a first one again.
    """
    tripped.begin(11.0)

    assert State.PROBING is tripped.state

    tripped.succeeded()

    assert (State.CLOSED, True, 0.0) == (tripped.state, tripped.allows(11.0), tripped.wait(11.0))

    tripped.failed(12.0)
    tripped.failed(12.0)

    assert 1.0 == tripped.wait(12.0)


def test_each_failed_probe_doubles_the_rest_up_to_the_longest(tripped: Breaker) -> None:
    """
    A single failed probe reopens; rests are 1, 2, 3, 3 seconds.
    """
    now, rests = 10.0, []
    for _ in range(4):
        rests.append(tripped.wait(now))
        now += rests[-1]
        tripped.begin(now)
        tripped.failed(now)

    assert ([1.0, 2.0, 3.0, 3.0], 5) == (rests, tripped.opened)


def test_late_success_closes_an_open_breaker(tripped: Breaker) -> None:
    """
    The answer to a call made before it opened proves that the tier is alive.
    """
    tripped.succeeded()

    assert (State.CLOSED, True) == (tripped.state, tripped.allows(10.1))


def test_probe_fails_after_late_success(tripped: Breaker) -> None:
    """
    A late success forgets the streak, so a single failure after it does not open again.
    """
    tripped.succeeded()
    tripped.failed(10.2)

    assert State.CLOSED is tripped.state


def test_breaker_that_opens_again_within_its_former_rest_rests_anew(tripped: Breaker) -> None:
    """
    Every opening is counted and begins a whole rest.
    """
    tripped.succeeded()
    tripped.failed(10.2)
    tripped.failed(10.5)

    assert (State.OPEN, 2, 1.0) == (tripped.state, tripped.opened, tripped.wait(10.5))


def test_late_failure_does_not_prolong_the_rest(tripped: Breaker) -> None:
    """
    A failure that comes in while nobody probes tells nothing new, also when the rest is over.
    """
    tripped.failed(10.5)
    tripped.failed(11.5)

    assert (True, 1) == (tripped.allows(11.5), tripped.opened)


def test_hastened_breaker_may_be_probed_at_once(tripped: Breaker) -> None:
    """
    Somebody who waits for an answer does not wait for the rest.
    """
    tripped.hasten()
    tripped.begin(10.0)

    assert State.PROBING is tripped.state

    tripped.failed(10.0)

    assert (State.OPEN, 2.0) == (tripped.state, tripped.wait(10.0))


def test_breaker_that_probes_lets_attempts_pass(tripped: Breaker) -> None:
    """
    The plan has one attempt out per tier; the breaker does not count them.
    """
    tripped.begin(11.0)

    assert (True, 0.0) == (tripped.allows(11.0), tripped.wait(11.0))


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"rest": -0.1}, {"longest": -1.0}])
def test_senseless_arguments_are_refused(wrong: dict[str, float]) -> None:
    """
    A breaker that could never open, or would rest for negative time, is a mistake.
    """
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Breaker(**wrong)


def test_least_arguments_are_accepted() -> None:
    """
    One failure may open it, and a rest may be empty.
    """
    breaker = Breaker(threshold=1, rest=0.0, longest=0.0)
    breaker.failed(1.0)

    assert (State.OPEN, True) == (breaker.state, breaker.allows(1.0))


def test_every_event_is_listed_for_some_state() -> None:
    """
    The table has no event without effect and no state without a way out.
    """
    assert set(Event) == {event for _, event in MOVES}
    assert set(State) == {state for state, _ in MOVES}


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "begin", "hasten"]), st.floats(0, 5))))
def test_breaker_never_shuts_a_tier_out_for_ever(events: list[tuple[str, float]]) -> None:
    """
    Whatever happens, an attempt may start after the time that `wait` tells, and never earlier.
    """
    breaker, now = Breaker(threshold=2, rest=0.5, longest=4.0), 0.0
    for event, passed in events:
        now += passed
        if event == "ok":
            breaker.succeeded()
        elif event == "bad":
            breaker.failed(now)
        elif event == "hasten":
            breaker.hasten()
        else:
            breaker.begin(now)
        wait = breaker.wait(now)

        assert 0.0 <= wait <= 4.0
        assert (wait == 0.0) is breaker.allows(now)
        assert breaker.allows(now + wait + 1e-6)


def test_rest_that_was_asked_for() -> None:
    """
    It lasts as long as the tier asked for, and its end is a probe like any other.
    """
    breaker = Breaker(threshold=5, rest=1.0)
    breaker.told_to_rest(10.0, 60.0)

    assert (State.OPEN, 1, 60.0) == (breaker.state, breaker.opened, breaker.wait(10.0))
    assert (False, True) == (breaker.allows(69.0), breaker.allows(70.0))

    breaker.begin(70.0)

    assert State.PROBING is breaker.state


def test_rest_that_was_asked_for_shortens_none() -> None:
    """
    A tier that rests longer already goes on resting; a longer wish is granted.
    """
    breaker = Breaker(threshold=1, rest=8.0)
    breaker.failed(0.0)
    breaker.told_to_rest(0.0, 2.0)

    assert (8.0, 1) == (breaker.wait(0.0), breaker.opened)

    breaker.told_to_rest(0.0, 20.0)

    assert (20.0, 1) == (breaker.wait(0.0), breaker.opened)


def test_rest_that_was_asked_for_has_an_end() -> None:
    """
    No answer of a receiver puts it to rest for more than an hour.
    """
    breaker = Breaker()
    breaker.told_to_rest(0.0, 1e9)

    assert 3600.0 == breaker.wait(0.0)
