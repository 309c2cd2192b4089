"""
The plan: which tier gets a batch next, decided without doing any I/O.

Rule 1: outcomes go in, steps come out. Nothing here calls a tier, sleeps or
reads a clock; the two drivers do, and both run this one plan.
Rule 2: the order of the tiers is a row of `strategy.ROUTES`, what an answer leads
to a row of `moves.MOVES`; the pictures in the documentation are drawn from both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .breaker import Breaker
from .delivery import Delivery
from .outcomes import Delivered, Outcome, Partial
from .retry import Retry
from .score import Score
from .strategy import ROUTES, Leg, Rule, Strategy
from .tier import Kind

# With `FASTEST`, each so many batches go to the copy that was not asked for longest.
PROBE_EVERY: Final = 8


class Health:
    """
    What the plan remembers about one tier.

    Args:
        kind: What becomes of lines that it takes.
        seconds: How long an attempt may take.
        breaker: Whether it may be tried.
        copy: For a final tier, the number of the copy it writes; for a repair
            store, of the copy it serves. None: it stands for no copy.
    """

    __slots__ = ("breaker", "busy", "copy", "kind", "score", "seconds")

    def __init__(
        self,
        kind: Kind,
        seconds: float,
        breaker: Breaker | None = None,
        copy: int | None = None,
    ) -> None:
        self.kind = kind
        self.seconds = seconds
        self.breaker = breaker or Breaker()
        self.copy = copy
        self.busy = False
        """An abandoned call has not returned yet; the tier takes nothing until it has."""
        self.score = Score(seconds)


_LEGS: Final[dict[Leg, Callable[[Health], bool]]] = {
    Leg.LISTED: lambda tier: tier.kind is not Kind.REPAIR,
    Leg.FINAL: lambda tier: tier.kind is Kind.FINAL,
    Leg.HOLDING: lambda tier: tier.kind is Kind.HOLDING,
    Leg.RANKED: lambda tier: tier.kind is Kind.FINAL and tier.copy is not None,
    Leg.COPIES: lambda tier: tier.kind is Kind.FINAL and tier.copy is not None,
    Leg.REST: lambda tier: tier.kind is not Kind.REPAIR and tier.copy is None,
    Leg.REPAIR: lambda tier: tier.kind is Kind.REPAIR,
}


class Plan:
    """
    The memory of one chain between batches. Not thread-safe: the ticket holder's.

    Only `rule` may be set by any thread: a delivery reads it once, when it begins,
    and again when every tier has failed it.

    Args:
        tiers: One `Health` per tier, in order of preference.
        rule: How the tiers are used.
        retry: Attempts and back-off.
    """

    __slots__ = ("_ranked", "retry", "rule", "tiers")

    def __init__(
        self, tiers: list[Health], rule: Rule | None = None, retry: Retry | None = None
    ) -> None:
        self.tiers = tiers
        self.rule = rule or Rule()
        self.retry = retry or Retry()
        self._ranked = 0

    @property
    def copies(self) -> int:
        """How many copies there are."""
        return 1 + max((tier.copy for tier in self.tiers if tier.copy is not None), default=-1)

    def begin(
        self,
        size: int,
        *,
        tiers: Sequence[int] | None = None,
        patient: bool = True,
        rule: Rule | None = None,
        had: Mapping[int, int] | None = None,
        sheds: bool = False,
    ) -> Delivery:
        """
        Start the delivery of *size* lines.

        Args:
            size: How many lines the batch has.
            tiers: The tiers that may be used; all when None.
            patient: Whether to wait for another round when every tier has
                failed. An impatient delivery gives up instead and never waits
                for a back-off: replay and draining at exit want to know now.
            rule: How tiers are used this time, whatever becomes of the plan's rule.
            had: By position, the copies that have the line already, as bits.
            sheds: Whether to give up, patient or not, when a holding tier is
                full and no tier takes what it refused. The caller gives some of
                that up then; waiting would only keep others from being tried.
        """
        allowed = range(len(self.tiers)) if tiers is None else tiers
        return Delivery(self, size, tuple(allowed), patient, rule, had or {}, sheds=sheds)

    def route(self, strategy: Strategy, allowed: Sequence[int]) -> tuple[int, ...]:
        """Return the tiers among *allowed* in the order in which *strategy* asks them."""
        route: list[int] = []
        for leg in ROUTES[strategy]:
            belongs = _LEGS[leg]
            found = [tier for tier in allowed if belongs(self.tiers[tier])]
            route += self._rank(found) if leg is Leg.RANKED else found
        return tuple(route)

    def _rank(self, tiers: list[int]) -> list[int]:
        """Return *tiers* by the scores of their copies; now and then the stalest copy leads."""
        first: dict[int | None, int] = {}
        for tier in tiers:
            first.setdefault(self.tiers[tier].copy, tier)
        order = sorted(first, key=lambda copy: self.tiers[first[copy]].score.value)
        self._ranked += 1
        if order and self._ranked % PROBE_EVERY == 0:
            stalest = min(order, key=lambda copy: self.tiers[first[copy]].score.at)
            order = [stalest, *(copy for copy in order if copy != stalest)]
        return sorted(tiers, key=lambda tier: order.index(self.tiers[tier].copy))

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
