"""
Strategies: in which order a chain asks its tiers, and when a line is safe.

Rule 1: the order is a row of `ROUTES`; what an answer leads to is a row of
`moves.MOVES`. A strategy is these rows and the number of copies it asks for.
Rule 2: a *copy* is one place where the lines are wanted: a file tier and its twin
are one, each other final tier is one of its own. A final tier that is no copy is a
last resort: lines there have left the chain, and nobody will look for them there.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct


class Strategy(Enum):
    """How a chain uses its tiers."""

    FAILOVER = "failover"
    """In order, the first healthy one; a tier that failed rests until its probe succeeds."""

    MIRROR = "mirror"
    """Every copy; safe with the first. What a copy missed is repaired by replay."""

    SPOOL = "spool"
    """Holding tiers first, the rest by replay; safe when it is held."""

    FASTEST = "fastest"
    """The copy with the best score, ranked anew for each batch; order is not promised."""

    QUORUM = "quorum"
    """Every copy; safe with so many of them. What a copy missed is repaired by replay."""


class Leg(Enum):
    """A part of the way through a chain."""

    LISTED = "final and holding tiers as listed"
    FINAL = "final tiers as listed"
    HOLDING = "holding tiers"
    RANKED = "copies, the best score first"
    COPIES = "each copy"
    REST = "holding tiers and last resorts as listed"
    REPAIR = "what a copy missed, to its repair store"


ROUTES: Final[dict[Strategy, tuple[Leg, ...]]] = {
    Strategy.FAILOVER: (Leg.LISTED,),
    Strategy.MIRROR: (Leg.COPIES, Leg.REST, Leg.REPAIR),
    Strategy.SPOOL: (Leg.HOLDING, Leg.FINAL),
    Strategy.FASTEST: (Leg.RANKED, Leg.REST),
    # No last resort: a line there would count as one more copy, and is none.
    Strategy.QUORUM: (Leg.COPIES, Leg.HOLDING, Leg.REPAIR),
}


class Rule(Struct, frozen=True):
    """A strategy, and with how many copies a line is safe."""

    strategy: Strategy = Strategy.FAILOVER
    needed: int = 1

    @property
    def spreads(self) -> bool:
        """Whether every copy is to have every line."""
        return Leg.COPIES in ROUTES[self.strategy]

    @property
    def shares(self) -> bool:
        """Whether held lines may go back to any copy, not only to the first."""
        return self.spreads or Leg.RANKED in ROUTES[self.strategy]


def rule_of(
    strategy: Strategy, quorum: int | None = None, *, copies: int, holding: bool = True
) -> Rule:
    """
    Return the rule that *strategy* means for a chain.

    Args:
        strategy: The strategy.
        quorum: For `QUORUM`, how many copies make a line safe; None: more than half.
        copies: How many copies the chain has.
        holding: Whether it has a holding tier.

    Raises:
        ValueError: If the chain has not what the strategy needs, or a number is
            given to a strategy that takes none.
    """
    if strategy is not Strategy.QUORUM:
        if quorum is not None:
            raise ValueError(f"{strategy.value} takes no quorum")
        if strategy is Strategy.SPOOL and not holding:
            raise ValueError("spool needs a holding tier")
        if strategy in {Strategy.MIRROR, Strategy.FASTEST} and copies < 2:
            raise ValueError(f"{strategy.value} needs at least 2 copies, and there is {copies}")
        return Rule(strategy)
    needed = copies // 2 + 1 if quorum is None else quorum
    if copies < 2:
        raise ValueError(f"quorum needs at least 2 copies, and there is {copies}")
    if not 1 <= needed <= copies:
        raise ValueError(f"quorum must be 1 to {copies}, the number of copies, not {needed}")
    return Rule(strategy, needed)
