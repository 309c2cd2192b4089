"""
A delivery: the way of one batch through a chain, decided without doing any I/O.

Rule 1: outcomes go in, steps come out; see `plan`.
Rule 2: a line leaves a delivery settled by one tier, the one that made it safe by
the rule of the strategy, or rejected by one, or not at all.
Rule 3: a line is rejected when it was refused by itself: alone, or named by an
answer that tells lines apart. Its neighbours are never condemned with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from .bisection import Bisection
from .moves import MOVES, Answer, Move
from .outcomes import Delivered, Full, Outcome, Partial, Permanent, Retryable, Unknown
from .spread import Spread, without
from .steps import DONE, GIVE_UP, Hold, Rejected, Settled, Step, Try, Wait
from .tier import Kind

if TYPE_CHECKING:
    from .plan import Health, Plan
    from .strategy import Rule


class Delivery:
    """
    The way of one batch through the chain. Ask `step`, do it, `feed` the answer.

    `settled` tells which tier took what so far; `rejected` what the destination will
    never take; `left` the indices that are neither; `trying` the tier that owes an
    answer, if any; `suspect` whether one may have lines unannounced; `full` whether a
    holding tier had no room for what is left; `rule` by which rule it goes.

    The destination is the first copy; for a delivery to the tiers of one copy alone
    (its repair) it is that copy. Where every copy is asked, a line is rejected when
    so many have refused it that it cannot become safe.
    """

    __slots__ = (
        "_again_at", "_allowed", "_attempts", "_began", "_bisection", "_cursor", "_doubts",
        "_given", "_home", "_missed", "_own", "_passed", "_plan", "_refusals", "_rounds",
        "_route", "_spread",
        "full", "left", "patient", "rejected", "rule", "settled", "sheds", "suspect", "trying",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        size: int,
        tiers: tuple[int, ...],
        patient: bool,
        rule: Rule | None,
        had: Mapping[int, int],
        *,
        sheds: bool = False,
    ) -> None:
        self._plan = plan
        self._allowed = tiers
        self._own = rule
        self.patient = patient
        self.sheds = sheds
        self.left: Sequence[int] = range(size)
        self.settled: list[Settled] = []
        self.rejected: list[Rejected] = []
        self.suspect = False
        self.full = False
        self._cursor = 0
        self._attempts = 0
        self._passed = 0
        """So many lines at the front are not for the tier in turn: it refused each of them."""
        self._bisection = Bisection()
        self._refusals: dict[int, int] = {}
        """By line, the copies that refuse it, as bits; where every copy is asked."""
        copies = {plan.tiers[tier].copy for tier in tiers}
        self._home = next(iter(copies)) if len(copies) == 1 else 0
        self._rounds = 0
        self._again_at = 0.0
        self._began = 0.0
        self._given: Sequence[int] = ()
        self._doubts = 0
        self._missed: dict[int, Sequence[int]] = {}
        self.trying: int | None = None
        self._spread: Spread | None = None
        self._follow(plan.rule if rule is None else rule, had)

    def restrict(self, tiers: Sequence[int], *, patient: bool) -> None:
        """From now on use only *tiers*, beginning with the first that may be tried."""
        self._allowed = tuple(tiers)
        self._route = self._plan.route(self.rule.strategy, self._allowed)
        self.patient = patient
        self.full = False
        self._turn_to(0)
        self._again_at = 0.0

    def hasten(self) -> None:
        """Skip the back-off that is running, if any."""
        self._again_at = 0.0

    @property
    def given(self) -> Sequence[int]:
        """The lines that the last `Try` was about."""
        return self._given

    @property
    def size(self) -> int:
        """How many lines the last `Try` was about."""
        return len(self._given)

    @property
    def missed(self) -> dict[int, Sequence[int]]:
        """By copy, the lines that are safe elsewhere and neither there nor kept for it."""
        spread, found = self._spread, dict(self._missed)
        if spread is None:
            return found
        for copy in range(self._plan.copies):
            lines = spread.missed(copy, self.left)
            if lines:
                found[copy] = [*found.get(copy, ()), *lines]
        return found

    @property
    def had(self) -> Mapping[int, int]:
        """By line, the copies that have it, as bits; where one copy does not make it safe."""
        return {} if self._spread is None else self._spread.had

    def step(self, now: float) -> Step:
        """Return what to do at *now*."""
        if not self.left and self._spread is None:
            return DONE
        if self._again_at > now:
            return Wait(self._again_at - now)
        plan = self._plan
        while self._cursor < len(self._route):
            tier = self._route[self._cursor]
            health = plan.tiers[tier]
            given = self._offered(health)
            if self._passed or self._bisection.size is not None:
                given = given[self._passed :][: self._bisection.size]
            if given and plan.available(tier, now):
                health.breaker.begin(now)
                self._given, self._began = given, now
                self.trying = tier
                make = Try if health.kind is Kind.FINAL else Hold
                return make(tier, given, health.seconds, self._suspected(health))
            self._turn_to(self._cursor + 1)
        if not self.left:
            return DONE
        if not self.patient or (self.sheds and self.full):
            return GIVE_UP
        self._rounds += 1
        self._turn_to(0)
        if self._own is None and plan.rule != self.rule:
            # No tier has made them safe under the rule it began with; here is another one.
            self._missed = self.missed
            self._follow(plan.rule, self.had)
        pause = max(plan.retry.delay(self._rounds), self._rest(now))
        self._again_at = now + pause
        return Wait(pause)

    def feed(self, outcome: Outcome, now: float) -> None:
        """Take in the answer to the last `Try`, at *now*."""
        tier = self.trying
        if tier is None:
            raise RuntimeError("feed() without a step to answer")
        plan, health = self._plan, self._plan.tiers[tier]
        taken, rest = _divide(self._given, outcome)
        if taken:
            self._credit(tier, taken)
        # Not before: whoever finds it set knows that the answer has not been taken in.
        self.trying = None
        if taken:
            self._bisection.took(len(taken))
        others = len(self._given) - len(taken)
        named = others == 1 or isinstance(outcome, Partial)
        answer = _answer(rest, progress=bool(taken), named=named, home=self._stands(health))
        failed = answer in _FAILURES
        health.score.note(now - self._began, now, failed=failed)
        self.full = self.full or (answer is Answer.FULL and health.kind is Kind.HOLDING)
        self._attempts += 1
        if failed:
            health.breaker.failed(now)
        elif taken or answer is Answer.FULL:
            # A tier that takes a few lines at a time is slow, and a full one is full: not broken.
            health.breaker.succeeded()
            self._attempts = 0
        after = rest.after if isinstance(rest, Retryable) else None
        again = self.patient and self._attempts < plan.retry.attempts
        if after and not (again and after <= plan.retry.longest):
            # It knows when it will be well. Until then the others shall have the lines.
            health.breaker.told_to_rest(now, after)
        move = MOVES[self.rule.strategy, answer, again and plan.available(tier, now)]
        match move:
            case Move.AGAIN:
                self._again_at = now + plan.retry.delay(self._attempts, after)
            case Move.SPLIT:
                self._bisection.refused(others)
                self._attempts = 0
            case Move.REJECT | Move.SKIP:
                assert isinstance(rest, Permanent)
                self._bisection.found()
                self._refused(tier, without(self._given, taken), rest, move)
                self._attempts = 0
            case Move.NEXT | Move.SUSPECT | Move.SPREAD:
                if move is Move.SUSPECT:
                    self.suspect = True
                    self._doubts |= 0 if health.copy is None else 1 << health.copy
                if move is not Move.SPREAD or self._bisection.size is None:
                    self._turn_to(self._cursor + 1)
            case Move.SETTLE:
                """`_credit` has done it."""

    def expire(self, error: BaseException | str, now: float) -> None:
        """The last `Try` was abandoned at *now*: its answer is unknown, its tier busy."""
        if self.trying is not None:
            self._plan.abandoned(self.trying)
            self.feed(Unknown(error), now)

    def _turn_to(self, cursor: int) -> None:
        """Begin afresh with the tier at *cursor* of the route."""
        self._cursor = cursor
        self._attempts = self._passed = 0
        self._bisection = Bisection()

    def _stands(self, health: Health) -> bool:
        """Return whether what a tier refuses by itself is refused by the destination."""
        return health.kind is Kind.FINAL and health.copy is not None and health.copy == self._home

    def _refused(self, tier: int, lines: Sequence[int], rest: Permanent, move: Move) -> None:
        """Part with *lines*, each refused by itself, or leave them to other tiers."""
        poison = lines if move is Move.REJECT else self._hopeless(tier, lines)
        self._passed += len(lines) - len(poison)
        if not poison:
            return
        if self._spread is not None:
            self._spread.hold(poison)
        rejected = [*self.rejected, *(Rejected(tier, line, rest.error) for line in poison)]
        left = without(self.left, poison)
        # Both at once, as in `_settle`.
        self.rejected, self.left = rejected, left

    def _hopeless(self, tier: int, lines: Sequence[int]) -> Sequence[int]:
        """Return those of *lines* that too many copies have refused by now."""
        health, spread = self._plan.tiers[tier], self._spread
        if spread is None or health.copy is None or health.kind is not Kind.FINAL:
            return ()
        for line in lines:
            self._refusals[line] = self._refusals.get(line, 0) | 1 << health.copy
        left = set(self.left)
        enough = self._plan.copies - spread.needed
        return [i for i in lines if i in left and self._refusals[i].bit_count() > enough]

    def _follow(self, rule: Rule, had: Mapping[int, int]) -> None:
        """Go on by *rule* with the lines that are left; *had* says which copies have them."""
        plan = self._plan
        self.rule = rule
        self._route = plan.route(rule.strategy, self._allowed)
        spread = Spread(self.left, plan.copies, rule.needed, had) if rule.spreads else None
        for tier, health in enumerate(plan.tiers) if had else ():
            if health.kind is Kind.FINAL and health.copy is not None:
                # What copies have from before may make lines safe at once.
                safe = [
                    line
                    for line in self.left
                    if had.get(line, 0) >> health.copy & 1 and had[line].bit_count() >= rule.needed
                ]
                if safe:
                    self._settle(tier, safe, suspect=False)
        self._spread = spread

    def _offered(self, health: Health) -> Sequence[int]:
        """Return the lines that a tier is to get."""
        spread = self._spread
        if spread is None or health.copy is None:
            return self.left
        if health.kind is Kind.REPAIR:
            return spread.missed(health.copy, self.left)
        return spread.lacking(health.copy)

    def _suspected(self, health: Health) -> bool:
        """Return whether the tier, or whoever gets its lines, may have them already."""
        if self._spread is None or health.copy is None:
            return self.suspect
        return bool(self._doubts >> health.copy & 1)

    def _credit(self, tier: int, taken: Sequence[int]) -> None:
        """Note that *tier* has *taken*."""
        health, spread = self._plan.tiers[tier], self._spread
        suspect = self._suspected(health)
        if spread is None:
            self._settle(tier, taken, suspect=suspect)
        elif health.copy is None:
            self._settle(tier, taken, suspect=suspect)
            spread.hold(taken)
        elif health.kind is Kind.REPAIR:
            spread.settle(health.copy, taken)
        else:
            safe = spread.credit(health.copy, taken, self.left)
            if safe:
                self._settle(tier, safe, suspect=suspect)

    def _settle(self, tier: int, lines: Sequence[int], *, suspect: bool) -> None:
        settled = [*self.settled, Settled(tier, lines, suspect)]
        left = without(self.left, lines)
        # Both at once: a signal handler that raises finds no line in neither.
        self.settled, self.left = settled, left

    def _rest(self, now: float) -> float:
        """Return the seconds until the first tier may be tried again."""
        waits = [
            self._plan.tiers[tier].breaker.wait(now)
            for tier in self._route
            if not self._plan.tiers[tier].busy and self._offered(self._plan.tiers[tier])
        ]
        return min(waits, default=0.0)


def _divide(
    given: Sequence[int], outcome: Outcome
) -> tuple[Sequence[int], Retryable | Permanent | Unknown | None]:
    """Return which of the lines *given* were taken, and what holds for the others, if any."""
    match outcome:
        case Delivered(prefix):
            taken = given if prefix is None else given[:prefix]
            return taken, Retryable("only a part was taken") if len(taken) < len(given) else None
        case Partial(indices, rest):
            # A tier sees positions in what it was given; map them back.
            chosen = set(indices)
            taken = [line for place, line in enumerate(given) if place in chosen]
            return taken, rest if len(taken) < len(given) else None
        case _:
            return (), outcome


_FAILURES: Final = frozenset({Answer.RETRYABLE, Answer.UNKNOWN})


def _answer(
    rest: Retryable | Permanent | Unknown | None, *, progress: bool, named: bool, home: bool
) -> Answer:
    # Not by the exact type: a tier may have outcomes of its own, made from these.
    if rest is None:
        return Answer.TAKEN
    if isinstance(rest, Full):
        return Answer.FULL
    if isinstance(rest, Retryable):
        return Answer.PART if progress else Answer.RETRYABLE
    if not isinstance(rest, Permanent):
        return Answer.UNKNOWN
    if not named:
        return Answer.PERMANENT
    return Answer.POISON if home else Answer.DECLINED
