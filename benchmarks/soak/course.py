"""
Which fault comes when: a pure function of the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

STRATEGIES: Final = ("failover", "mirror", "spool", "quorum")
LASTING: Final = ("sink-down", "sink-hangs", "disk-full")
"""Faults that begin and are healed."""
INSTANT: Final = ("rotate", "flood", "fork", "kill", "configure")
HEAL: Final = "heal "
_QUIET_START, _QUIET_END = 2.0, 4.0


@dataclass(frozen=True, slots=True)
class Step:
    """
    One thing to do.

    Args:
        at: Seconds from the start.
        what: A fault, or `heal ` and one of those that last.
        how: The strategy, of `configure`.
    """

    at: float
    what: str
    how: str = ""


def course(seed: int, seconds: float, faults: Sequence[str] = (*LASTING, *INSTANT)) -> list[Step]:
    """
    Return what happens in a soak of *seconds*, in order of time.

    Each of *faults* has come once before any of them comes again. A fault that lasts is
    healed before it begins again, and before the end.
    """
    chance = random.Random(seed)
    return sorted(_steps(chance, seconds - _QUIET_END, faults), key=lambda step: step.at)


def _steps(chance: random.Random, end: float, faults: Sequence[str]) -> Iterator[Step]:
    at = _QUIET_START
    healed = dict.fromkeys(LASTING, 0.0)
    deck: list[str] = []
    strategy = STRATEGIES[0]
    # In a short soak all come, one soon after the other; in a long one there is room between.
    widest = max(0.5, min(8.0, (end - at) / (len(faults) + 1)))
    while True:
        at = round(at + chance.uniform(0.3 * widest, widest), 2)
        if at >= end:
            return
        if not deck:
            deck = chance.sample(list(faults), len(faults))
        what = deck.pop()
        if what in LASTING:
            if healed[what] > at:
                continue
            healed[what] = round(min(at + chance.uniform(0.5, 6.0), end), 2)
            yield Step(at, what)
            yield Step(healed[what], HEAL + what)
        elif what == "configure":
            strategy = chance.choice([name for name in STRATEGIES if name != strategy])
            yield Step(at, what, strategy)
        else:
            yield Step(at, what)
