"""
The score of a tier: what an attempt on it costs of late, in seconds.

Rule: no clock and no luck in here. The same attempts make the same score.
"""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

# The weight of the newest attempt. Three of them make seven eighths of the score, so
# tiers that change places are seen to within a few batches.
_WEIGHT: Final = 0.5


class Score(Struct):
    """
    Averages of latency and failures in which old attempts fade. Lower is better.

    Args:
        penalty: Seconds that a certain failure counts as: the deadline of an attempt.
    """

    penalty: float = 5.0
    latency: float = 0.0
    """Seconds that an attempt took of late."""
    errors: float = 0.0
    """The share of attempts that failed of late, 0 to 1."""
    at: float = -math.inf
    """When the last attempt ended, in monotonic seconds."""

    @property
    def value(self) -> float:
        """Seconds that the next attempt is expected to cost; 0 before the first."""
        return self.latency + self.errors * self.penalty

    def note(self, seconds: float, now: float, *, failed: bool) -> None:
        """Take in an attempt that took *seconds* and ended at *now*."""
        weight = _WEIGHT if self.at > -math.inf else 1.0
        self.latency += weight * (max(0.0, seconds) - self.latency)
        self.errors += weight * (failed - self.errors)
        self.at = now
