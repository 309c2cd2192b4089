"""
The plan: which tier gets a batch next, decided without doing any I/O.

Rule 1: outcomes go in, steps come out. Nothing here calls a tier, sleeps or
reads a clock; the two drivers do, and both run this one plan.
Rule 2: what an answer leads to is a row of `MOVES`; the picture in the
documentation is drawn from that table.
Rule 3: a line leaves a delivery settled by one tier, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from .breaker import Breaker
from .outcomes import Delivered, Outcome, Partial, Permanent, Retryable, Unknown
from .retry import Retry
from .tier import Kind


class Strategy(Enum):
    """How a chain uses its tiers."""

    FAILOVER = "failover"
    """In order, the first healthy one; a tier that failed rests until its probe succeeds."""


class Answer(Enum):
    """The kind of an outcome, as far as the plan cares."""

    TAKEN = "taken"
    RETRYABLE = "retryable"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


class Move(Enum):
    """What the plan does after an answer."""

    SETTLE = "settle"
    """The batch is safe: done."""

    AGAIN = "again"
    """Wait for the back-off, then try the same tier."""

    NEXT = "next"
    """Try the next tier; when there is none, wait and begin a new round."""

    SUSPECT = "suspect"
    """As NEXT, but the lines may have been taken: they travel on as possible duplicates."""


# Keyed by strategy, answer, and whether the tier has attempts left.
MOVES: Final[dict[tuple[Strategy, Answer, bool], Move]] = {
    (Strategy.FAILOVER, Answer.TAKEN, True): Move.SETTLE,
    (Strategy.FAILOVER, Answer.TAKEN, False): Move.SETTLE,
    (Strategy.FAILOVER, Answer.RETRYABLE, True): Move.AGAIN,
    (Strategy.FAILOVER, Answer.RETRYABLE, False): Move.NEXT,
    (Strategy.FAILOVER, Answer.PERMANENT, True): Move.NEXT,
    (Strategy.FAILOVER, Answer.PERMANENT, False): Move.NEXT,
    (Strategy.FAILOVER, Answer.UNKNOWN, True): Move.SUSPECT,
    (Strategy.FAILOVER, Answer.UNKNOWN, False): Move.SUSPECT,
}


@dataclass(frozen=True, slots=True)
class Try:
    """Write the lines at *indices* to the tier, within *seconds*; then `feed` the answer."""

    tier: int
    indices: Sequence[int]
    seconds: float
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Hold(Try):
    """As `Try`, on a holding tier: lines it takes are kept for replay."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let *seconds* pass, then ask again; asking early is harmless."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """Every line is settled."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No tier will take the lines that are left, and waiting was not allowed."""


Step: TypeAlias = Try | Wait | Done | GiveUp
DONE: Final = Done()
GIVE_UP: Final = GiveUp()


@dataclass(frozen=True, slots=True)
class Settled:
    """Which lines a tier took; `suspect` when an earlier tier may have them too."""

    tier: int
    indices: Sequence[int]
    suspect: bool


@dataclass(slots=True)
class Health:
    """What the plan remembers about one tier."""

    kind: Kind
    seconds: float
    breaker: Breaker = field(default_factory=Breaker)
    busy: bool = False
    """An abandoned call has not returned yet; the tier takes nothing until it has."""


@dataclass(slots=True)
class Plan:
    """
    The memory of one chain between batches. Not thread-safe: the ticket holder's.

    Args:
        tiers: One `Health` per tier, in order of preference.
        strategy: How the tiers are used.
        retry: Attempts and back-off.
    """

    tiers: list[Health]
    strategy: Strategy = Strategy.FAILOVER
    retry: Retry = field(default_factory=Retry)

    def begin(
        self, size: int, *, tiers: Sequence[int] | None = None, patient: bool = True
    ) -> Delivery:
        """
        Start the delivery of *size* lines.

        Args:
            size: How many lines the batch has.
            tiers: The tiers that may be used; all when None.
            patient: Whether to wait for another round when every tier has
                failed. An impatient delivery gives up instead and never waits
                for a back-off: replay and draining at exit want to know now.
        """
        allowed = range(len(self.tiers)) if tiers is None else tiers
        return Delivery(self, size, tuple(allowed), patient)

    def available(self, tier: int, now: float) -> bool:
        """Return whether *tier* may be tried at *now*."""
        health = self.tiers[tier]
        return not health.busy and health.breaker.allows(now)

    def hasten(self) -> None:
        """Let every resting tier be probed at once: somebody is waiting for an answer."""
        for health in self.tiers:
            health.breaker.hasten()

    def abandoned(self, tier: int) -> None:
        """Note that a call on *tier* was abandoned and may still be running."""
        self.tiers[tier].busy = True

    def late(self, tier: int, outcome: Outcome) -> None:
        """Take in the answer of an abandoned call: the tier is free again."""
        health = self.tiers[tier]
        health.busy = False
        # A late failure is none of its own: the call counted as one when it was abandoned.
        if isinstance(outcome, Delivered | Partial):
            health.breaker.succeeded()


class Delivery:
    """
    The way of one batch through the chain. Ask `step`, do it, `feed` the answer.

    `settled` tells which tier took what so far; `left` the indices not settled;
    `trying` the tier that owes an answer, if any; `refused` whether a tier has said
    that it will never take them; `suspect` whether one may have them unannounced.
    """

    __slots__ = (
        "_again_at", "_attempts", "_cursor", "_plan", "_rounds", "_tiers",
        "left", "patient", "refused", "settled", "suspect", "trying",
    )  # fmt: skip

    def __init__(self, plan: Plan, size: int, tiers: tuple[int, ...], patient: bool) -> None:
        self._plan = plan
        self._tiers = tiers
        self.patient = patient
        self.left: Sequence[int] = range(size)
        self.settled: list[Settled] = []
        self.suspect = False
        self.refused = False
        self._cursor = 0
        self._attempts = 0
        self._rounds = 0
        self._again_at = 0.0
        self.trying: int | None = None

    def restrict(self, tiers: Sequence[int], *, patient: bool) -> None:
        """From now on use only *tiers*, beginning with the first that may be tried."""
        self._tiers = tuple(tiers)
        self.patient = patient
        self._cursor = self._attempts = 0
        self._again_at = 0.0

    def hasten(self) -> None:
        """Skip the back-off that is running, if any."""
        self._again_at = 0.0

    def step(self, now: float) -> Step:
        """Return what to do at *now*."""
        if not self.left:
            return DONE
        if self._again_at > now:
            return Wait(self._again_at - now)
        plan = self._plan
        while self._cursor < len(self._tiers):
            tier = self._tiers[self._cursor]
            health = plan.tiers[tier]
            if plan.available(tier, now):
                health.breaker.begin(now)
                self.trying = tier
                make = Hold if health.kind is Kind.HOLDING else Try
                return make(tier, self.left, health.seconds, self.suspect)
            self._cursor += 1
            self._attempts = 0
        if not self.patient:
            return GIVE_UP
        self._rounds += 1
        self._cursor = self._attempts = 0
        pause = max(plan.retry.delay(self._rounds), self._rest(now))
        self._again_at = now + pause
        return Wait(pause)

    def feed(self, outcome: Outcome, now: float) -> None:
        """Take in the answer to the last `Try`, at *now*."""
        tier = self.trying
        if tier is None:
            raise RuntimeError("feed() without a step to answer")
        self.trying = None
        health = self._plan.tiers[tier]
        before = len(self.left)
        rest = self._settle(tier, outcome)
        answer = Answer.TAKEN if rest is None else _answer(rest)
        self._attempts += 1
        if answer is Answer.UNKNOWN or (answer is Answer.RETRYABLE and len(self.left) == before):
            health.breaker.failed(now)
        elif answer is not Answer.PERMANENT:
            # A tier that takes a few lines at a time is slow, not broken.
            health.breaker.succeeded()
            self._attempts = 0
        again = self.patient and self._attempts < self._plan.retry.attempts
        move = MOVES[self._plan.strategy, answer, again and self._plan.available(tier, now)]
        if move is Move.AGAIN:
            after = rest.after if isinstance(rest, Retryable) else None
            self._again_at = now + self._plan.retry.delay(self._attempts, after)
        elif move is not Move.SETTLE:
            self.suspect = self.suspect or move is Move.SUSPECT
            self.refused = self.refused or answer is Answer.PERMANENT
            self._cursor += 1
            self._attempts = 0

    def expire(self, error: BaseException | str, now: float) -> None:
        """The last `Try` was abandoned at *now*: its answer is unknown, its tier busy."""
        if self.trying is not None:
            self._plan.abandoned(self.trying)
            self.feed(Unknown(error), now)

    def _settle(self, tier: int, outcome: Outcome) -> Retryable | Permanent | Unknown | None:
        """Move the lines that *tier* took to `settled`; return what holds for the others."""
        left = self.left
        match outcome:
            case Delivered(prefix):
                taken = left if prefix is None else left[:prefix]
                left = () if prefix is None else left[prefix:]
                rest: Retryable | Permanent | Unknown | None = (
                    Retryable("only a part was taken") if left else None
                )
            case Partial(indices, rest):
                # A tier sees positions in what it was given; map them back.
                chosen = set(indices)
                taken = [index for place, index in enumerate(left) if place in chosen]
                left = [index for place, index in enumerate(left) if place not in chosen]
                rest = rest if left else None
            case _:
                return outcome
        settled = [*self.settled, Settled(tier, taken, self.suspect)] if taken else self.settled
        # Both at once: a signal handler that raises finds no line in neither.
        self.settled, self.left = settled, left
        return rest

    def _rest(self, now: float) -> float:
        """Return the seconds until the first tier may be tried again."""
        waits = [
            self._plan.tiers[tier].breaker.wait(now)
            for tier in self._tiers
            if not self._plan.tiers[tier].busy
        ]
        return min(waits, default=0.0)


def _answer(rest: Retryable | Permanent | Unknown) -> Answer:
    # Not by the exact type: a tier may have outcomes of its own, made from these.
    if isinstance(rest, Retryable):
        return Answer.RETRYABLE
    return Answer.PERMANENT if isinstance(rest, Permanent) else Answer.UNKNOWN
