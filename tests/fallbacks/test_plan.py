from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks import (
    Breaker,
    Delivered,
    Full,
    Health,
    Kind,
    Partial,
    Permanent,
    Plan,
    Retry,
    Retryable,
    Strategy,
    Unknown,
)
from fallbacks.breaker import State
from fallbacks.delivery import Delivery
from fallbacks.moves import MOVES, Answer
from fallbacks.outcomes import Outcome
from fallbacks.steps import DONE, GIVE_UP, Hold, Rejected, Settled, Step, Try, Wait
from scripts import draw_plan as script

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


class OwnPermanent(Permanent):
    """What a tier may define for itself."""


def plan_of(*kinds: str, attempts: int = 2, threshold: int = 2) -> Plan:
    """Return a plan of one tier a letter: p(rimary), f(inal stand-in) or h(olding)."""
    tiers = [
        Health(
            Kind.HOLDING if kind == "h" else Kind.FINAL,
            5.0,
            Breaker(threshold, 1.0, 8.0),
            copy=0 if kind == "p" else None,
        )
        for kind in kinds
    ]
    return Plan(tiers, retry=Retry(attempts=attempts, base=1.0, longest=4.0, jitter=lambda: 0.5))


def test_healthy_tier_takes_all() -> None:
    """
    One try on the preferred tier settles the batch.
    """
    delivery = plan_of("f", "f").begin(3)

    assert Try(0, range(3), 5.0, duplicate=False) == delivery.step(0.0)
    assert 0 == delivery.trying

    delivery.feed(Delivered(), 0.0)

    assert DONE is delivery.step(0.0)
    assert [Settled(0, range(3), suspect=False)] == delivery.settled
    assert (None, []) == (delivery.trying, delivery.rejected)


def test_empty_batch_is_done() -> None:
    """
    Nothing to deliver is delivered.
    """
    assert DONE is plan_of("f").begin(0).step(0.0)


def test_holding_tier_gets_a_hold() -> None:
    """
    The step tells that what is taken is not at its end.
    """
    step = plan_of("h").begin(1).step(0.0)

    assert (Hold, 0) == (type(step), step.tier)  # type: ignore[union-attr]


def test_retryable_failure_is_tried_again_after_a_while() -> None:
    """
    The same tier gets its attempts, with a back-off between them.
    """
    delivery = plan_of("f", "f", attempts=2, threshold=9).begin(1)
    delivery.step(0.0)
    delivery.feed(Retryable(), 10.0)

    assert Wait(0.5) == delivery.step(10.0)
    assert Wait(0.25) == delivery.step(10.25)
    assert 0 == delivery.step(10.5).tier  # type: ignore[union-attr]

    delivery.feed(Retryable(), 11.0)

    assert 1 == delivery.step(11.0).tier  # type: ignore[union-attr]


def test_receiver_decides_when_it_is_asked_again() -> None:
    """
    `Retry-After` is waited for.
    """
    delivery = plan_of("f", threshold=9).begin(1)
    delivery.step(0.0)
    delivery.feed(Retryable(after=7.0), 0.0)

    assert Wait(7.0) == delivery.step(0.0)


def test_tier_that_opened_its_breaker_is_not_waited_for() -> None:
    """
    The next tier comes at once when the last failure opened the breaker.
    """
    delivery = plan_of("f", "f", attempts=5, threshold=1).begin(1)
    delivery.step(0.0)
    delivery.feed(Retryable(), 0.0)

    assert 1 == delivery.step(0.0).tier  # type: ignore[union-attr]


def test_impatient_delivery_never_waits() -> None:
    """
    Replay and draining at exit go on at once, and give up after one round.
    """
    delivery = plan_of("f", "f", attempts=5, threshold=9).begin(1, patient=False)
    tried = []
    while isinstance(step := delivery.step(0.0), Try):
        tried.append(step.tier)
        delivery.feed(Retryable(after=9.0), 0.0)

    assert ([0, 1], GIVE_UP, range(1)) == (tried, step, delivery.left)


def drive(delivery: Delivery, bad: set[int], *, at_most: int | None = None) -> list[list[int]]:
    """Run *delivery* on tiers that refuse *bad* lines, or too many at once; return the offers."""
    offers = []
    while isinstance(step := delivery.step(0.0), Try):
        offers.append(list(step.indices))
        too_many = at_most is not None and len(step.indices) > at_most
        refused = too_many or bad.intersection(step.indices)
        delivery.feed(OwnPermanent("poison") if refused else Delivered(), 0.0)
    return offers


def settled_of(delivery: Delivery, tier: int) -> list[int]:
    """Return the indices that *tier* took, in the order in which it did."""
    return [index for each in delivery.settled if each.tier == tier for index in each.indices]


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("bad", [{0, 1, 2}, {997, 998, 999}, {384, 41, 796}, {0, 500, 999}])
def test_three_bad_lines_of_a_thousand(bad: set[int], patient: bool) -> None:
    """
    The others are delivered, in order and by the same tier, in sixty calls.
    """
    plan = plan_of("p", "f")
    delivery = plan.begin(1000, patient=patient)
    offers = drive(delivery, bad)

    assert [i for i in range(1000) if i not in bad] == settled_of(delivery, 0)
    assert sorted(bad) == [each.index for each in delivery.rejected]
    assert DONE is delivery.step(0.0)
    assert len(offers) <= 60
    assert State.CLOSED is plan.tiers[0].breaker.state


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_bad_lines_cost_few_calls(batch: tuple[int, set[int]]) -> None:
    """
    The calls are bounded by 2 log2(n) a bad line, and by a little over two a line.
    """
    size, bad = batch
    delivery = plan_of("p", "f").begin(size)
    offers = drive(delivery, bad)
    bound = len(bad) * math.ceil(2 * math.log2(size)) + 3

    assert [i for i in range(size) if i not in bad] == settled_of(delivery, 0)
    assert sorted(bad) == [each.index for each in delivery.rejected]
    assert len(offers) <= min(bound, 2.2 * size + 3)


@pytest.mark.parametrize("at_most", [1, 2, 300, 999])
def test_too_many_lines_at_once(at_most: int) -> None:
    """
    A batch that is refused for its size is no poison: all of it arrives, in parts that fit.
    """
    delivery = plan_of("p", "f").begin(1000)
    offers = drive(delivery, set(), at_most=at_most)

    assert list(range(1000)) == settled_of(delivery, 0)
    assert [] == delivery.rejected
    assert len(offers) <= 2 * 1000 / at_most + 12


def test_refusal_of_the_destination_is_final() -> None:
    """
    A line that it refuses by itself is tried nowhere else; the error is kept.
    """
    delivery = plan_of("p", "f").begin(1)
    delivery.step(0.0)
    delivery.feed(OwnPermanent("poison"), 0.0)

    assert [Rejected(0, 0, "poison")] == delivery.rejected
    assert (DONE, [], 0) == (delivery.step(0.0), delivery.settled, len(delivery.left))


@pytest.mark.parametrize("kind", ["f", "h"])
def test_stand_in_that_declines_a_line(kind: str) -> None:
    """
    What a stand-in refuses says nothing about the destination: the next tier gets that line alone.
    """
    plan = plan_of(kind, "f")
    delivery = plan.begin(9)
    offers = drive_first_tier(delivery, {0, 4, 5})

    assert [1, 2, 3, 6, 7, 8] == settled_of(delivery, 0)
    assert [0, 4, 5] == settled_of(delivery, 1)
    assert ([], [0, 4, 5]) == (delivery.rejected, offers[-1])
    assert State.CLOSED is plan.tiers[0].breaker.state


def drive_first_tier(delivery: Delivery, bad: set[int]) -> list[list[int]]:
    """Run *delivery* on a first tier that refuses *bad* lines and others that take all."""
    offers = []
    while isinstance(step := delivery.step(0.0), Try):
        offers.append(list(step.indices))
        refused = step.tier == 0 and bad.intersection(step.indices)
        delivery.feed(Permanent("poison") if refused else Delivered(), 0.0)
    return offers


def test_refusals_named_one_by_one() -> None:
    """
    An answer that tells lines apart is believed: nobody searches for what has been named.
    """
    delivery = plan_of("p", "f").begin(4)
    delivery.step(0.0)
    delivery.feed(Partial([0, 3], Permanent("bad")), 0.0)

    assert [Rejected(0, 1, "bad"), Rejected(0, 2, "bad")] == delivery.rejected
    assert ([0, 3], DONE) == (settled_of(delivery, 0), delivery.step(0.0))


def test_tier_that_fails_in_the_middle_of_a_search() -> None:
    """
    What is neither taken nor rejected goes on to the next tier, all of it at once.
    """
    delivery = plan_of("p", "f", threshold=1).begin(4)
    for outcome in (Permanent(), Delivered(), Retryable()):
        delivery.step(0.0)
        delivery.feed(outcome, 0.0)

    assert Try(1, range(2, 4), 5.0, duplicate=False) == delivery.step(0.0)


def test_long_rest_that_a_receiver_asks_for() -> None:
    """
    A `Retry-After` beyond the longest back-off rests the tier, and the next one gets the batch.
    """
    plan = plan_of("p", "f", threshold=9)
    delivery = plan.begin(1)
    delivery.step(0.0)
    delivery.feed(Retryable(after=60.0), 0.0)

    assert 1 == delivery.step(0.0).tier  # type: ignore[union-attr]
    assert (60.0, False) == (plan.tiers[0].breaker.wait(0.0), plan.available(0, 59.0))
    assert plan.available(0, 60.0)


def test_short_rest_that_a_receiver_asks_for() -> None:
    """
    A `Retry-After` within the longest back-off is waited for, with the batch in hand.
    """
    plan = plan_of("p", "f", threshold=9)
    delivery = plan.begin(1)
    delivery.step(0.0)
    delivery.feed(Retryable(after=4.0), 0.0)

    assert (Wait(4.0), State.CLOSED) == (delivery.step(0.0), plan.tiers[0].breaker.state)


def test_rest_is_kept_by_those_who_cannot_wait() -> None:
    """
    An impatient delivery goes on at once, and the next batch leaves the tier alone as well.
    """
    plan = plan_of("p", "f", threshold=9)
    delivery = plan.begin(1, patient=False)
    delivery.step(0.0)
    delivery.feed(Retryable(after=4.0), 0.0)

    assert 1 == delivery.step(0.0).tier  # type: ignore[union-attr]
    assert 1 == plan.begin(1).step(3.0).tier  # type: ignore[union-attr]


@pytest.mark.parametrize("answer", [Full("no room"), Partial([0, 2], Full("no room"))])
def test_full_tier_is_left_and_not_blamed(answer: Outcome) -> None:
    """
    Want of room is no failure: the next tier gets the rest, the next batch the tier again.
    """
    plan = plan_of("f", "h", "f", attempts=3, threshold=1)
    plan.tiers[0].breaker.failed(0.0)
    plan.tiers[1].breaker.failed(-100.0)
    delivery = plan.begin(3)
    delivery.step(0.0)
    delivery.feed(answer, 0.0)

    assert 2 == delivery.step(0.0).tier  # type: ignore[union-attr]
    assert (True, State.CLOSED) == (delivery.full, plan.tiers[1].breaker.state)
    assert 1 == plan.begin(1).step(0.0).tier  # type: ignore[union-attr]


def test_delivery_that_sheds_does_not_wait_for_room() -> None:
    """
    Lines that a full tier refused and nobody else takes come back to a caller who sheds.
    """
    for sheds in (True, False):
        plan = plan_of("f", "h", threshold=1)
        plan.tiers[0].breaker.failed(0.0)
        delivery = plan.begin(3, sheds=sheds)
        delivery.step(0.0)
        delivery.feed(Partial([1], Full()), 0.0)
        step = delivery.step(0.0)

        assert [0, 2] == delivery.left
        assert (GIVE_UP is step) if sheds else isinstance(step, Wait)


def test_delivery_that_sheds_waits_for_tiers_that_fail() -> None:
    """
    Where nobody said that there is no room, there may be some: nothing is given up.
    """
    plan = plan_of("f", "h", threshold=1)
    delivery = plan.begin(3, sheds=True)
    for _ in range(2):
        delivery.step(0.0)
        delivery.feed(Retryable(), 0.0)

    assert isinstance(delivery.step(0.0), Wait)


def test_restricted_delivery_asks_for_room_anew() -> None:
    """
    Whoever takes a delivery over may have other tiers: that one was full says nothing of them.
    """
    plan = plan_of("f", "h", "f", threshold=1)
    plan.tiers[0].breaker.failed(0.0)
    delivery = plan.begin(1, tiers=(0, 1), sheds=True)
    delivery.step(0.0)
    delivery.feed(Full(), 0.0)
    delivery.restrict((2,), patient=True)
    delivery.step(0.0)
    delivery.feed(Retryable(), 0.0)

    assert isinstance(delivery.step(0.0), Wait)


def test_unknown_outcome_marks_the_lines() -> None:
    """
    Lines that an earlier tier may have travel on as possible duplicates.
    """
    delivery = plan_of("f", "f").begin(2)
    delivery.step(0.0)
    delivery.feed(Unknown("lost"), 0.0)

    assert Try(1, range(2), 5.0, duplicate=True) == delivery.step(0.0)

    delivery.feed(Delivered(), 0.0)

    assert [Settled(1, range(2), suspect=True)] == delivery.settled


def test_prefix_is_settled_and_the_rest_tried_again() -> None:
    """
    A tier that takes a part is slow, not broken: it keeps its attempts and its breaker.
    """
    plan = plan_of("f", "f", attempts=2, threshold=2)
    delivery, now = plan.begin(5), 0.0
    for _ in range(4):
        delivery.step(now)
        delivery.feed(Delivered(1), now)
        now += 10.0

    assert [Settled(0, range(n, n + 1), suspect=False) for n in range(4)] == delivery.settled
    assert (State.CLOSED, 0) == (plan.tiers[0].breaker.state, delivery.step(now).tier)  # type: ignore[union-attr]


def test_prefix_of_nothing_is_a_failure() -> None:
    """
    A tier that keeps taking no line at all must not be asked for ever.
    """
    plan = plan_of("f", "f", attempts=9, threshold=2)
    delivery = plan.begin(1)
    for _ in range(2):
        delivery.step(delivery.step(0.0).seconds if delivery.trying is None else 0.0)  # type: ignore[union-attr]
        delivery.feed(Delivered(0), 0.0)
        delivery.hasten()

    assert (State.OPEN, []) == (plan.tiers[0].breaker.state, delivery.settled)


def test_partial_answer_is_mapped_back() -> None:
    """
    A tier sees positions in what it was given; lines keep their place in the batch.
    """
    delivery = plan_of("f", "f", "f").begin(6)
    for outcome in (
        Partial([1, 4], Permanent("bad")),
        Partial([0, 3], Unknown("hm")),
        Partial([0, 1]),
    ):
        delivery.step(0.0)
        delivery.feed(outcome, 0.0)

    assert [
        Settled(0, [1, 4], suspect=False),
        Settled(1, [0, 5], suspect=False),
        Settled(2, [2, 3], suspect=True),
    ] == delivery.settled
    assert DONE is delivery.step(0.0)


def test_partial_answer_that_takes_nothing_settles_nothing() -> None:
    """
    No empty entry is left behind for a tier that took no line.
    """
    delivery = plan_of("f", "f").begin(2)
    delivery.step(0.0)
    delivery.feed(Partial([], Permanent()), 0.0)

    assert ([], [0, 1]) == (delivery.settled, list(delivery.left))


def test_patient_delivery_begins_another_round() -> None:
    """
    When every tier has failed it waits until the first rest is over, then begins in front.
    """
    plan = plan_of("f", "f", attempts=1, threshold=1)
    delivery = plan.begin(1)
    for _ in range(2):
        delivery.step(0.0)
        delivery.feed(Retryable(), 0.0)

    assert Wait(1.0) == delivery.step(0.0)
    assert 0 == delivery.step(1.0).tier  # type: ignore[union-attr]


def test_rounds_are_farther_and_farther_apart() -> None:
    """
    Tiers that fail without opening their breaker are asked less often, too.
    """
    delivery = plan_of("f", attempts=1, threshold=99).begin(1)
    waits, now = [], 0.0
    for _ in range(5):
        delivery.step(now)
        delivery.feed(Retryable(), now)
        wait = delivery.step(now)
        waits.append(wait.seconds)  # type: ignore[union-attr]
        now += wait.seconds  # type: ignore[union-attr]

    assert [0.5, 1.0, 2.0, 2.0, 2.0] == waits


def test_wait_ends_with_the_shortest_rest_of_a_tier_that_is_free() -> None:
    """
    A tier whose abandoned call is out cannot be waited for; the others' rests count.
    """
    plan = plan_of("f", "f", "f", threshold=1)
    plan.abandoned(0)
    plan.tiers[1].breaker.failed(0.0)
    plan.tiers[2].breaker.failed(3.0)

    assert Wait(1.0) == plan.begin(1).step(0.0)
    assert Wait(3.0) == plan.begin(1, tiers=(0, 2)).step(1.0)
    assert Wait(0.5) == plan.begin(1, tiers=(0,)).step(0.0)


def test_only_the_tiers_allowed_are_used() -> None:
    """
    A delivery can be bound to some tiers, such as the primaries for a replay.
    """
    delivery = plan_of("f", "f", "f").begin(1, tiers=(2, 1), patient=False)
    tried = []
    while isinstance(step := delivery.step(0.0), Try):
        tried.append(step.tier)
        delivery.feed(Retryable(), 0.0)

    assert [2, 1] == tried


def test_no_tier_at_all_gives_up_or_waits() -> None:
    """
    A delivery without any tier does not spin.
    """
    plan = plan_of("f")

    assert GIVE_UP is plan.begin(1, tiers=(), patient=False).step(0.0)
    assert Wait(0.5) == plan.begin(1, tiers=()).step(0.0)


def test_restricted_delivery_forgets_wait_and_place() -> None:
    """
    Whoever takes a job over goes on at once, with tiers of its own and what is left.
    """
    delivery = plan_of("f", "f", "f", threshold=9).begin(3)
    delivery.step(0.0)
    delivery.feed(Delivered(1), 0.0)

    assert isinstance(delivery.step(0.0), Wait)

    delivery.restrict((2, 1), patient=False)

    assert Try(2, range(1, 3), 5.0, duplicate=False) == delivery.step(0.0)
    assert not delivery.patient


def test_hastened_delivery_skips_its_back_off() -> None:
    """
    Somebody who waits for a barrier does not wait for a back-off.
    """
    delivery = plan_of("f", threshold=9).begin(1)
    delivery.step(0.0)
    delivery.feed(Retryable(), 0.0)
    delivery.hasten()

    assert isinstance(delivery.step(0.0), Try)


def test_hastened_plan_probes_every_tier() -> None:
    """
    All rests end.
    """
    plan = plan_of("f", "f", threshold=1)
    for health in plan.tiers:
        health.breaker.failed(0.0)
    plan.hasten()

    assert [True, True] == [plan.available(tier, 0.0) for tier in range(2)]


def test_abandoned_call_blocks_its_tier() -> None:
    """
    A call that was left behind makes the outcome unknown and its tier busy, until it returns.
    """
    plan = plan_of("f", "f")
    delivery = plan.begin(1)
    delivery.step(0.0)
    delivery.expire("too late", 1.0)

    assert (True, True) == (plan.tiers[0].busy, delivery.suspect)
    assert 1 == delivery.step(1.0).tier  # type: ignore[union-attr]
    assert not plan.available(0, 99.0)

    plan.late(0, Delivered())

    assert plan.available(0, 1.0)


@pytest.mark.parametrize("outcome", [Delivered(), Partial([0])])
def test_late_success_heals_the_tier(outcome: Outcome) -> None:
    """
    A tier that took lines lives, however late its answer.
    """
    plan = plan_of("f", threshold=1)
    delivery = plan.begin(1)
    delivery.step(0.0)
    delivery.expire("too late", 1.0)

    assert State.OPEN is plan.tiers[0].breaker.state

    plan.late(0, outcome)

    assert (State.CLOSED, False) == (plan.tiers[0].breaker.state, plan.tiers[0].busy)


@pytest.mark.parametrize("outcome", [Retryable(), Permanent(), Unknown()])
def test_one_call_fails_once(outcome: Outcome) -> None:
    """
    The late failure of a call that was abandoned is not counted a second time.
    """
    plan = plan_of("f", threshold=2)
    delivery = plan.begin(1)
    delivery.step(0.0)
    delivery.expire("too late", 1.0)
    plan.late(0, outcome)

    assert (State.CLOSED, False) == (plan.tiers[0].breaker.state, plan.tiers[0].busy)


@pytest.mark.parametrize("outcome", [Retryable(), Permanent(), Unknown()])
def test_late_failure_does_not_heal(outcome: Outcome) -> None:
    """
    A breaker that opened because of the abandoned call stays open when it fails in the end.
    """
    plan = plan_of("f", threshold=1)
    delivery = plan.begin(1)
    delivery.step(0.0)
    delivery.expire("too late", 1.0)
    plan.late(0, outcome)

    assert (State.OPEN, 1.0) == (plan.tiers[0].breaker.state, plan.tiers[0].breaker.wait(1.0))


def test_doubt_stays_with_the_lines() -> None:
    """
    Once a tier may have them, whatever further tiers say, the lines are marked.
    """
    delivery = plan_of("f", "f", "f", attempts=1).begin(1)
    for outcome in (Unknown(), Retryable(), Delivered()):
        delivery.step(0.0)
        delivery.feed(outcome, 0.0)

    assert [Settled(2, range(1), suspect=True)] == delivery.settled


def test_expiry_between_attempts_changes_nothing() -> None:
    """
    A holder that was robbed while it waited has no call out.
    """
    plan = plan_of("f")
    delivery = plan.begin(1)
    delivery.expire("robbed", 0.0)

    assert (False, False) == (plan.tiers[0].busy, delivery.suspect)


def test_answer_without_a_question_is_a_mistake() -> None:
    """
    A driver that feeds twice is wrong, and is told so.
    """
    delivery = plan_of("f").begin(1)

    with pytest.raises(RuntimeError, match="without a step"):
        delivery.feed(Delivered(), 0.0)


def test_table_is_complete() -> None:
    """
    Every strategy says what to do after every answer, with and without attempts left.
    """
    assert {(s, a, more) for s in Strategy for a in Answer for more in (True, False)} == set(MOVES)


OUTCOMES = st.one_of(
    st.just(Delivered()),
    st.just(Retryable()),
    st.just(Retryable(after=3.0)),
    st.just(Permanent()),
    st.just(Unknown()),
    st.integers(0, 9).map(Delivered),
    st.tuples(
        st.sets(st.integers(0, 9)), st.sampled_from([Retryable(), Permanent(), Unknown()])
    ).map(lambda pair: Partial(sorted(pair[0]), pair[1])),
    st.just("expire"),
)


def _fitting(outcome: Outcome, size: int) -> Outcome:
    """Return *outcome* made possible for a batch of *size* lines."""
    if isinstance(outcome, Delivered) and outcome.prefix is not None:
        return Delivered(min(outcome.prefix, size))
    if isinstance(outcome, Partial):
        return Partial([i for i in outcome.indices if i < size], outcome.rest)
    return outcome


def _check(delivery: Delivery, size: int) -> None:
    settled = [index for each in delivery.settled for index in each.indices]

    rejected = [each.index for each in delivery.rejected]
    assert list(range(size)) == sorted([*settled, *rejected, *delivery.left])
    assert all(len(each.indices) for each in delivery.settled)
    assert list(delivery.left) == sorted(delivery.left)


@given(
    size=st.integers(0, 8),
    kinds=st.lists(st.sampled_from("pfh"), min_size=1, max_size=4),
    script=st.lists(st.tuples(OUTCOMES, st.floats(0, 3)), max_size=30),
    patient=st.booleans(),
    takeover=st.integers(0, 30),
)
def test_line_is_settled_by_exactly_one_tier_or_left(
    size: int,
    kinds: list[str],
    script: list[tuple[Outcome, float]],
    patient: bool,
    takeover: int,
) -> None:
    """
    Whatever tiers answer, and whoever takes over, no line is settled twice or forgotten.
    """
    plan = plan_of(*kinds)
    delivery, now = plan.begin(size, patient=patient), 0.0
    step: Step = DONE
    busy: set[int] = set()
    for number, (outcome, passed) in enumerate(script):
        if number == takeover:
            delivery.restrict(range(len(kinds)), patient=False)
        step = delivery.step(now)
        _check(delivery, size)
        if isinstance(step, Try):
            assert step.tier not in busy
            offered = list(step.indices)
            left = list(delivery.left)
            assert offered
            assert any(offered == left[at : at + len(offered)] for at in range(len(left)))
            assert step.duplicate is delivery.suspect
            now += passed
            if outcome == "expire":
                busy.add(step.tier)
                delivery.expire("late", now)
            else:
                delivery.feed(_fitting(outcome, len(step.indices)), now)
            _check(delivery, size)
        elif isinstance(step, Wait):
            assert step.seconds > 0
            assert delivery.patient
            now += step.seconds
        else:
            break
        while len(busy) > 2:
            plan.late(busy.pop(), Unknown())
    assert (not delivery.left) is (delivery.step(now) is DONE)


@given(st.lists(OUTCOMES, max_size=12), st.integers(1, 4))
def test_impatient_delivery_asks_each_tier_once(script: list[Outcome], tiers: int) -> None:
    """
    An impatient delivery ends after one attempt per tier, but for the search for bad lines.
    """
    delivery = plan_of(*"f" * tiers).begin(3, patient=False)
    tried: list[int] = []
    answers = iter(script)
    while isinstance(step := delivery.step(0.0), Try):
        tried.append(step.tier)
        outcome = next(answers, Retryable())
        fitting = Retryable() if outcome == "expire" else _fitting(outcome, len(step.indices))
        if isinstance(fitting, Permanent) or delivery.left != step.indices:
            tried.pop()
        delivery.feed(fitting, 0.0)

    assert sorted(set(tried)) == tried
    assert step in (DONE, GIVE_UP)


def test_pictures_show_the_tables() -> None:
    """
    The pictures in the documentation are drawn from the tables, with nothing left out.
    """
    page = (ROOT / "docs" / "design" / "plan.md").read_text(encoding="utf-8")

    assert page == script.rendered(page), "run scripts/draw_plan.py"
    assert set(script.PICTURES) == set(script.shown(page))
