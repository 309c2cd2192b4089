from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallbacks import (
    Batch,
    Breaker,
    Chain,
    Delivered,
    Health,
    Kind,
    Partial,
    Permanent,
    Plan,
    Retry,
    Retryable,
    Rule,
    Score,
    Strategy,
    Unknown,
)
from fallbacks.delivery import Delivery
from fallbacks.outcomes import Full, Outcome
from fallbacks.plan import PROBE_EVERY
from fallbacks.steps import DONE, GIVE_UP, Hold, Settled, Step, Try
from fallbacks.strategy import ROUTES, rule_of
from fallbacks.testing import FakeClock, FaultyTier

pytestmark = pytest.mark.unit

MIRROR = Rule(Strategy.MIRROR)
RETRY = Retry(attempts=2, base=1.0, longest=4.0, jitter=lambda: 0.5)


def plan_of(rule: Rule, layout: str, *, threshold: int = 2) -> Plan:
    """
    Return a plan of tiers by a letter each: a digit is a final tier of that copy, `h`
    holds, `l` is a last resort, `A` the repair store of copy 0, `B` of copy 1, and so on.
    """
    tiers = []
    for letter in layout:
        kind, copy = Kind.FINAL, None
        if letter.isdigit():
            copy = int(letter)
        elif letter.isupper():
            kind, copy = Kind.REPAIR, ord(letter) - ord("A")
        elif letter == "h":
            kind = Kind.HOLDING
        tiers.append(Health(kind, 5.0, Breaker(threshold, 1.0, 8.0), copy))
    return Plan(tiers, rule, RETRY)


def drive(delivery: Delivery, answers: dict[int, Outcome]) -> tuple[list[int], Step]:
    """Answer each try by its tier, `Delivered` where none is given; return who was asked."""
    asked, now = [], 0.0
    while isinstance(step := delivery.step(now), Try):
        asked.append(step.tier)
        now += 0.1
        delivery.feed(answers.get(step.tier, Delivered()), now)
    return asked, step


def test_mirror_writes_every_copy_once() -> None:
    """
    Each copy gets the batch from its first tier; the first one makes it safe.
    """
    delivery = plan_of(MIRROR, "0012hlABC").begin(3)

    assert ([0, 2, 3], DONE) == drive(delivery, {})
    assert [Settled(0, range(3), suspect=False)] == delivery.settled
    assert {} == delivery.missed


def test_copy_that_failed_is_kept_for_repair() -> None:
    """
    What one copy missed goes to the store of that copy, and to no other place.
    """
    delivery = plan_of(MIRROR, "01hAB").begin(3)

    assert ([0, 1, 3], DONE) == drive(delivery, {0: Retryable("down")})
    assert [Settled(1, range(3), suspect=False)] == delivery.settled
    assert {} == delivery.missed


def test_full_tier_holds_nothing_up() -> None:
    """
    A tier without room is not asked again: the next one gets the lines at once.
    """
    delivery = plan_of(Rule(), "h0").begin(2)

    assert ([0, 1], DONE) == drive(delivery, {0: Full("no room")})
    assert [Settled(1, range(2), suspect=False)] == delivery.settled


def test_twin_stands_in_for_its_copy() -> None:
    """
    A copy has two tiers where it is a file: the second one writes what the first did not.
    """
    delivery = plan_of(MIRROR, "001AB").begin(2)

    assert ([0, 1, 2], DONE) == drive(delivery, {0: Unknown("lost")})
    assert [Settled(1, range(2), suspect=True)] == delivery.settled


def test_doubt_about_one_copy_is_no_doubt_about_another() -> None:
    """
    A copy that may have the lines gets them as possible duplicates, the others do not.
    """
    delivery = plan_of(MIRROR, "001AB").begin(2)
    marks = {}
    while isinstance(step := delivery.step(0.0), Try):
        marks[step.tier] = step.duplicate
        delivery.feed(Unknown("lost") if step.tier == 0 else Delivered(), 0.0)

    assert {0: False, 1: True, 2: False} == marks


@pytest.mark.parametrize("layout", ["01h", "01hAB"])
def test_miss_that_nobody_keeps_is_told(layout: str) -> None:
    """
    Without a repair store, or with one that fails, the delivery says which lines a copy lacks.
    """
    delivery = plan_of(MIRROR, layout).begin(4)
    _, step = drive(delivery, {1: Partial([0, 2], Permanent()), 4: Retryable("full")})

    assert (DONE, {1: [1, 3]}) == (step, delivery.missed)


def test_mirror_without_any_copy_holds_the_line_for_all() -> None:
    """
    A line that no copy took is held once, and no copy misses it.
    """
    delivery = plan_of(MIRROR, "01hlAB").begin(2)
    asked, step = drive(delivery, {0: Retryable(), 1: Retryable()})

    assert ([0, 1, 2], DONE, {}) == (asked, step, delivery.missed)
    assert [Settled(2, range(2), suspect=False)] == delivery.settled


def test_copy_that_takes_a_few_lines_at_a_time_is_asked_again() -> None:
    """
    Slow is not broken: nothing of what a copy takes in parts goes to its repair store.
    """
    delivery, parts, now = plan_of(MIRROR, "01AB").begin(3), 0, 0.0
    while (step := delivery.step(now)) is not DONE:
        if isinstance(step, Try):
            assert step.tier < 2
            parts += step.tier
            delivery.feed(Delivered(1) if step.tier else Delivered(), now)
        now += 1.0

    assert (3, {}) == (parts, delivery.missed)


def test_quorum_is_not_safe_below_its_number() -> None:
    """
    A line with one copy of two that are needed is held, and it is known who has it.
    """
    delivery = plan_of(Rule(Strategy.QUORUM, 2), "012hlABC").begin(2)
    asked, step = drive(delivery, {0: Retryable(), 2: Retryable()})

    assert ([0, 1, 2, 3], DONE) == (asked, step)
    assert [Settled(3, range(2), suspect=False)] == delivery.settled
    assert {0: 0b010, 1: 0b010} == delivery.had


def test_quorum_settles_with_the_copy_that_makes_it_full() -> None:
    """
    The second of two settles the lines, the third one only gets them.
    """
    delivery = plan_of(Rule(Strategy.QUORUM, 2), "012").begin(3)
    _, step = drive(delivery, {0: Partial([0, 1], Permanent())})

    assert DONE is step
    assert [
        Settled(1, [0, 1], suspect=False),
        Settled(2, [2], suspect=False),
    ] == delivery.settled
    assert {0: [2]} == delivery.missed


def test_quorum_without_a_place_to_hold_waits_and_asks_only_for_what_is_lacking() -> None:
    """
    A copy that has the line is not given it again in the next round.
    """
    delivery = plan_of(Rule(Strategy.QUORUM, 2), "01l").begin(2)
    drive(delivery, {1: Retryable()})
    delivery.hasten()
    asked, step = drive(delivery, {})

    assert ([1], DONE) == (asked, step)


def test_quorum_that_gives_up_remembers_who_has_the_line() -> None:
    """
    Begun again with that knowledge, the line needs only what it still lacks.
    """
    plan = plan_of(Rule(Strategy.QUORUM, 2), "012")
    first = plan.begin(2, patient=False)

    assert GIVE_UP is drive(first, {1: Retryable(), 2: Retryable()})[1]

    again = plan.begin(2, had=first.had)

    assert ([1, 2], DONE) == drive(again, {})
    assert [Settled(1, [0, 1], suspect=False)] == again.settled


def test_lines_that_are_safe_already_are_settled_at_once() -> None:
    """
    What copies have from before counts; the others get the line all the same.
    """
    delivery = plan_of(MIRROR, "01").begin(2, had={1: 0b01})

    assert [Settled(0, [1], suspect=False)] == delivery.settled

    asked, step = drive(delivery, {})

    assert ([0, 1], DONE) == (asked, step)


def test_spool_asks_the_holding_tier_first() -> None:
    """
    Healthy or not, the destination is reached by replay only.
    """
    delivery = plan_of(Rule(Strategy.SPOOL), "0h").begin(1)
    step = delivery.step(0.0)

    assert (Hold, 1) == (type(step), step.tier)  # type: ignore[union-attr]


def test_spool_that_fails_is_passed_by() -> None:
    """
    With its spool resting, lines go to the destination directly, then to the last resort.
    """
    plan = plan_of(Rule(Strategy.SPOOL), "0hl", threshold=1)
    plan.tiers[1].breaker.failed(0.0)
    answers: dict[int, Outcome] = {0: Retryable("no")}

    assert ([0, 2], DONE) == drive(plan.begin(1), answers)


@pytest.mark.parametrize("before", [Strategy.QUORUM, Strategy.MIRROR, Strategy.FAILOVER])
def test_delivery_that_cannot_end_follows_a_switch(before: Strategy) -> None:
    """
    A quorum out of reach ends when somebody asks for less; misses of the time before stay told.
    """
    plan = plan_of(Rule(before, 2 if before is Strategy.QUORUM else 1), "012", threshold=9)
    delivery = plan.begin(3)
    drive(
        delivery,
        {0: Partial([0], Unknown()), 1: Partial([0], Unknown()), 2: Unknown()},
    )
    plan.rule = MIRROR
    # This round ends as it began, the next one begins by the new rule.
    for refusing in ({0, 1, 2}, {2}):
        delivery.hasten()
        drive(delivery, dict.fromkeys(refusing, Unknown()))

    assert DONE is delivery.step(0.0)
    assert set(range(3)) == {i for each in delivery.settled for i in each.indices}
    assert before is Strategy.FAILOVER or 0 in delivery.missed[2]


def test_rule_of_its_own_is_not_switched() -> None:
    """
    A repair goes to one copy, whatever the chain does meanwhile.
    """
    plan = plan_of(MIRROR, "01")
    delivery = plan.begin(1, tiers=(1,), rule=Rule())
    drive(delivery, {1: Unknown()})
    delivery.hasten()

    assert ([1], DONE) == drive(delivery, {})
    assert {} == delivery.missed


def test_line_that_is_not_safe_is_not_left_to_repair() -> None:
    """
    Repair is for what other copies have: a line that nobody has is offered to the copies again.
    """
    delivery = plan_of(MIRROR, "01AB").begin(2)

    assert [0, 1] == drive(delivery, {0: Unknown(), 1: Unknown()})[0]

    delivery.hasten()

    assert ([0, 1], DONE) == drive(delivery, {})


# fastest


def batches(plan: Plan, seconds: Callable[[int], float], count: int, now: float) -> list[int]:
    """Deliver *count* batches, each tier taking *seconds* for one; return who took them."""
    took = []
    for _ in range(count):
        delivery = plan.begin(1)
        while isinstance(step := delivery.step(now), Try):
            now += seconds(step.tier)
            delivery.feed(Delivered(), now)
        took.append(delivery.settled[0].tier)
    return took


@pytest.mark.parametrize(("slow", "fast"), [(0.1, 0.001), (0.002, 0.001), (4.0, 3.9)])
@pytest.mark.parametrize("warm", range(1, PROBE_EVERY + 3))
def test_fastest_moves_within_ten_batches(slow: float, fast: float, warm: int) -> None:
    """
    When the latencies of two copies swap, the better one leads ten batches later at most.
    """
    plan = plan_of(Rule(Strategy.FASTEST), "01h")
    batches(plan, lambda tier: (fast, slow)[tier], 2 * PROBE_EVERY + warm, 0.0)
    took = batches(plan, lambda tier: (slow, fast)[tier], 10 + PROBE_EVERY, 1000.0)

    # One batch in so many is a probe of the other one.
    assert took[10:].count(1) >= PROBE_EVERY - 1


def test_fastest_leaves_a_copy_that_fails() -> None:
    """
    A quick error is no quick delivery: failures cost as much as a deadline.
    """
    plan = plan_of(Rule(Strategy.FASTEST), "01", threshold=99)
    batches(plan, lambda tier: (0.001, 0.1)[tier], 3, 0.0)
    delivery = plan.begin(1)

    assert [0, 1] == drive(delivery, {0: Retryable("reset")})[0]
    assert [1] == drive(plan.begin(1), {})[0]


def test_fastest_keeps_a_file_and_its_twin_together() -> None:
    """
    Copies are ranked, not tiers; inside a copy the order stays.
    """
    plan = plan_of(Rule(Strategy.FASTEST), "001h")
    for tier, latency in enumerate((0.5, 0.001, 0.1)):
        plan.tiers[tier].score.note(latency, 1.0, failed=False)

    assert (2, 0, 1, 3) == plan.route(Strategy.FASTEST, range(4))


def test_score_forgets() -> None:
    """
    Old attempts fade: the newest one counts half.
    """
    score = Score(penalty=4.0)

    assert 0.0 == score.value

    score.note(1.0, 0.0, failed=False)
    score.note(0.0, 1.0, failed=True)

    assert (0.5, 0.5, 2.5) == (score.latency, score.errors, score.value)


# what a strategy asks for


@pytest.mark.parametrize(
    ("strategy", "quorum", "copies", "said"),
    [
        (Strategy.MIRROR, None, 1, "at least 2 copies"),
        (Strategy.FASTEST, None, 1, "at least 2 copies"),
        (Strategy.QUORUM, None, 1, "at least 2 copies"),
        (Strategy.QUORUM, 4, 3, "1 to 3"),
        (Strategy.QUORUM, 0, 3, "1 to 3"),
        (Strategy.MIRROR, 2, 3, "takes no quorum"),
        (Strategy.SPOOL, None, 2, "a holding tier"),
    ],
)
def test_strategy_that_does_not_fit(
    strategy: Strategy, quorum: int | None, copies: int, said: str
) -> None:
    """
    A chain that has not what a strategy needs is told so.
    """
    with pytest.raises(ValueError, match=said):
        rule_of(strategy, quorum, copies=copies, holding=False)


@pytest.mark.parametrize(("copies", "needed"), [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_quorum_is_a_majority_where_none_is_given(copies: int, needed: int) -> None:
    """
    More than half of the copies.
    """
    assert needed == rule_of(Strategy.QUORUM, copies=copies).needed


def test_refused_switch_changes_nothing() -> None:
    """
    A strategy that does not fit leaves the chain as it was.
    """
    chain = Chain([FaultyTier()])

    with pytest.raises(ValueError, match="copies"):
        chain.switch(Strategy.MIRROR)

    assert Rule() == chain.plan.rule


def test_copies_of_a_chain() -> None:
    """
    The primaries are one copy, each other final tier is one, and held lines go back to them.
    """
    tiers = [
        FaultyTier(),
        FaultyTier(),
        FaultyTier(kind=Kind.HOLDING),
        FaultyTier(),
        FaultyTier(kind=Kind.HOLDING),
    ]
    chain = Chain(tiers, primaries=2, repairs={1: 4})

    assert ((0, 1), (3,)) == chain.copies
    assert (0, 1) == chain.homes
    assert Kind.REPAIR is chain.plan.tiers[4].kind

    chain.switch(Strategy.MIRROR)

    assert (0, 1, 3) == chain.homes


def test_repair_store_serves_for_nothing_else() -> None:
    """
    With failover, lines pass by a repair store.
    """
    tiers = [FaultyTier([Retryable()] * 9), FaultyTier(), FaultyTier(kind=Kind.HOLDING)]
    chain = Chain(tiers, repairs={1: 2}, clock=FakeClock(), retry=RETRY)
    delivery = chain.plan.begin(1)

    assert isinstance(chain.clock, FakeClock)
    assert chain.run(delivery, Batch([b"a\n"]), chain.clock.advance)
    assert ([b"a\n"], []) == (tiers[1].taken, tiers[2].taken)


# all of them, against a model


@dataclass
class World:
    """What a simple observer of the tiers knows: by line, the tiers that said they took it."""

    layout: str
    took: dict[int, set[int]] = field(default_factory=dict)

    def note(self, tier: int, lines: list[int]) -> None:
        for line in lines:
            found = self.took.setdefault(line, set())
            letter = self.layout[tier]

            assert not letter.isdigit() or int(letter) not in self.copies(line), "given twice"

            found.add(tier)

    def _tiers(self, line: int, letters: str) -> set[int]:
        return {t for t in self.took.get(line, ()) if self.layout[t] in letters}

    def copies(self, line: int) -> set[int]:
        return {int(self.layout[t]) for t in self._tiers(line, "0123456789")}

    def elsewhere(self, line: int, letters: str) -> bool:
        return bool(self._tiers(line, letters))

    def repaired(self, line: int) -> set[int]:
        return {ord(self.layout[t]) - ord("A") for t in self._tiers(line, "ABCD")}

    def safe(self, line: int, rules: list[Rule]) -> bool:
        """Whether any of the rules that were in force makes the line safe."""
        copies = len(self.copies(line))
        for rule in rules:
            if rule.strategy is Strategy.QUORUM:
                if copies >= rule.needed or self.elsewhere(line, "h"):
                    return True
            elif copies or self.elsewhere(line, "hl"):
                return True
        return False


ANSWERS = st.one_of(
    st.just(Delivered()),
    st.just(Delivered()),
    st.just(Retryable()),
    st.just(Permanent()),
    st.just(Unknown()),
    st.integers(0, 5).map(Delivered),
    st.tuples(
        st.sets(st.integers(0, 5)), st.sampled_from([Retryable(), Permanent(), Unknown()])
    ).map(lambda pair: Partial(sorted(pair[0]), pair[1])),
)


def _taken(outcome: Outcome, lines: list[int]) -> tuple[Outcome, list[int]]:
    """Return *outcome* made possible for *lines*, and the lines it says were taken."""
    if isinstance(outcome, Delivered):
        prefix = len(lines) if outcome.prefix is None else min(outcome.prefix, len(lines))
        return Delivered(prefix), lines[:prefix]
    if isinstance(outcome, Partial):
        indices = [i for i in outcome.indices if i < len(lines)]
        return Partial(indices, outcome.rest), [lines[i] for i in indices]
    return outcome, []


@st.composite
def _rules(draw: st.DrawFn, copies: int) -> Rule:
    strategy = draw(st.sampled_from(list(Strategy)))
    return Rule(strategy, draw(st.integers(1, copies)) if strategy is Strategy.QUORUM else 1)


@st.composite
def _layouts(draw: st.DrawFn) -> tuple[str, int]:
    copies = draw(st.integers(1, 4))
    final = "".join(str(copy) * draw(st.integers(1, 2)) for copy in range(copies))
    kept = "".join(letter for letter in "ABCD"[:copies] if draw(st.booleans()))
    return final + draw(st.sampled_from(["", "h", "l", "hl"])) + kept, copies


@settings(max_examples=300, deadline=None)
@given(data=st.data(), size=st.integers(0, 6), patient=st.booleans())
def test_every_strategy_keeps_its_word(data: st.DataObject, size: int, patient: bool) -> None:
    """
    Whatever tiers answer and whoever switches: each line is settled once and by the rule or
    left, each miss is kept or told, no copy gets a line twice that it said it took, and when
    the tiers heal a patient delivery ends.
    """
    layout, copies = data.draw(_layouts())
    plan = plan_of(data.draw(_rules(copies)), layout)
    begun = [plan.rule]
    answers = data.draw(st.lists(ANSWERS, max_size=25))
    switch_at = data.draw(st.integers(0, 40))
    delivery, world, now, tries = plan.begin(size, patient=patient), World(layout), 0.0, 0
    step: Step = DONE
    for _ in range(400):
        step = delivery.step(now)
        settled = [line for each in delivery.settled for line in each.indices]

        rejected = [each.index for each in delivery.rejected]

        assert list(range(size)) == sorted([*settled, *rejected, *delivery.left])
        assert all(world.safe(line, begun) for line in settled)
        if isinstance(step, Try):
            assert list(step.indices)
            if tries == switch_at:
                plan.rule = data.draw(_rules(copies))
                begun.append(plan.rule)
            given_lines = list(step.indices)
            answer = answers[tries] if tries < len(answers) else Delivered()
            tries += 1
            outcome, taken = _taken(answer, given_lines)
            if tries % 5 == 4 and not taken:
                delivery.expire("late", now)
                plan.late(step.tier, Unknown())
            else:
                delivery.feed(outcome, now)
            world.note(step.tier, taken)
        elif isinstance(step, (type(DONE), type(GIVE_UP))):
            break
        else:
            now += step.seconds

    assert step is (DONE if patient or not delivery.left else GIVE_UP)
    assert bool(delivery.left) is (step is GIVE_UP)
    for line in delivery.left:
        assert not world.safe(line, [delivery.rule])
    if len(begun) > 1 or not plan.rule.spreads:
        return
    for line in set(range(size)) - set(delivery.left) - set(rejected):
        if world.elsewhere(line, "hl"):
            continue
        told = {copy for copy, lines in delivery.missed.items() if line in lines}

        # Somewhere, and in one place only: there, kept for it, or told.
        assert set(range(copies)) == world.copies(line) | world.repaired(line) | told
        assert not world.copies(line) & told
        assert not world.repaired(line) & told
    if plan.rule.needed > 1:
        for line in range(size):
            assert world.copies(line) == {
                c for c in range(copies) if delivery.had.get(line, 0) >> c & 1
            }


def refuse(delivery: Delivery, bad: dict[int, set[int]]) -> Step:
    """Drive *delivery* on tiers that refuse each batch with one of their *bad* lines in it."""
    while isinstance(step := delivery.step(0.0), Try):
        refused = bad.get(step.tier, set()).intersection(step.indices)
        delivery.feed(Permanent("bad") if refused else Delivered(), 0.0)
    return step


def test_line_that_one_copy_refuses() -> None:
    """
    Its neighbours get to every copy, itself to those that take it, and is kept for the one.
    """
    delivery = plan_of(MIRROR, "01AB").begin(9)

    assert DONE is refuse(delivery, {1: {4}})
    assert ([], list(range(9))) == (
        delivery.rejected,
        sorted(i for each in delivery.settled for i in each.indices),
    )
    assert {} == delivery.missed


def test_line_that_one_copy_refuses_without_a_store() -> None:
    """
    What is kept nowhere for a copy is told.
    """
    delivery = plan_of(MIRROR, "01").begin(9)

    assert DONE is refuse(delivery, {1: {4}})
    assert ({1: [4]}, []) == (delivery.missed, delivery.rejected)


def test_line_that_every_copy_refuses() -> None:
    """
    It is rejected, and no holding tier gets it, to be refused again at its replay.
    """
    delivery = plan_of(MIRROR, "01hAB").begin(9)

    assert DONE is refuse(delivery, {0: {4}, 1: {4}})
    assert [4] == [each.index for each in delivery.rejected]
    assert {0} == {each.tier for each in delivery.settled}
    assert {} == delivery.missed


@pytest.mark.parametrize(("bad", "rejected"), [((0,), []), ((0, 2), [4]), ((0, 1, 2), [4])])
def test_quorum_that_refuses(bad: tuple[int, ...], rejected: list[int]) -> None:
    """
    A line is rejected when so many copies refuse it that the quorum is out of reach.
    """
    delivery = plan_of(Rule(Strategy.QUORUM, 2), "012").begin(9)

    assert DONE is refuse(delivery, {tier: {4} for tier in bad})
    assert rejected == [each.index for each in delivery.rejected]


def test_fastest_copy_that_refuses() -> None:
    """
    A copy that stands in leaves the line to the destination, which has the last word.
    """
    for bad, rejected in (({1: {4}}, []), ({0: {4}, 1: {4}}, [(0, 4)])):
        plan = plan_of(Rule(Strategy.FASTEST), "01")
        plan.tiers[0].score.note(1.0, 0.0, failed=False)
        delivery = plan.begin(9)

        assert DONE is refuse(delivery, bad)
        assert rejected == [(each.tier, each.index) for each in delivery.rejected]
        assert 1 == delivery.settled[0].tier


def test_repair_that_is_refused() -> None:
    """
    In a delivery to one copy alone, that copy has the last word.
    """
    delivery = plan_of(MIRROR, "01").begin(9, tiers=(1,), rule=Rule(), patient=False)

    assert DONE is refuse(delivery, {1: {4}})
    assert [4] == [each.index for each in delivery.rejected]


def test_every_strategy_has_a_route() -> None:
    """
    No strategy is without an order.
    """
    assert set(Strategy) == set(ROUTES)


def test_chain_remembers_what_its_breakers_did() -> None:
    """
    Opening, probing and closing stand in the meter with the time of each.
    """
    clock = FakeClock()
    tier = FaultyTier([Retryable()] * 2)
    chain = Chain([tier], clock=clock, retry=RETRY)
    began = clock.time_ns()

    assert chain.run(chain.plan.begin(1), Batch([b"a\n"]), clock.advance)

    changes = chain.meters[0].changes

    assert ["open", "probing", "closed"] == [change.state for change in changes]
    assert [0.5, 1.5, 1.5] == [(change.time_ns - began) / 1e9 for change in changes]
