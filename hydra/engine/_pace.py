"""
The pace of lines on their way back to where they belong: how many at once, and when.

Rule 1: who waits for them may hasten a pause, but never the rate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fallbacks.plan import Plan

# How many lines, and bytes, a chunk has at most.
REPLAY_LINES: Final = 2_000
REPLAY_BYTES: Final = 1 << 20
# Seconds before another try after one that got nowhere.
REPLAY_PAUSE: Final = 0.5


class Pace:
    """
    When the next chunk may be sent.

    Args:
        rate: Lines in a second at most.
    """

    __slots__ = ("_until", "at", "most", "rate")

    def __init__(self, rate: float = math.inf) -> None:
        self.rate = rate
        self.most = int(max(1, min(REPLAY_LINES, rate * REPLAY_PAUSE)))
        """Lines that a chunk may have."""
        self.at = 0.0
        """The end of a pause, in monotonic seconds."""
        self._until = 0.0

    @property
    def ready_at(self) -> float:
        """When the next chunk may be sent, in monotonic seconds."""
        return max(self.at, self._until)

    def sent(self, lines: int, now: float) -> None:
        """Take note that *lines* were sent by *now*: the next ones have their time after that."""
        self._until = now + lines / self.rate


def rest(plan: Plan, tiers: Iterable[int], now: float) -> float:
    """Return the seconds for which none of *tiers* can be tried."""
    # A busy tier is free when its abandoned call returns, which nobody can foretell.
    return min(
        REPLAY_PAUSE if plan.tiers[tier].busy else plan.tiers[tier].breaker.wait(now)
        for tier in tiers
    )
