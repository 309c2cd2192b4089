"""
How long to wait before the next attempt: exponential back-off with full jitter.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec import Struct


def _uniform() -> float:
    # The module `random` costs milliseconds of import; a delay is drawn rarely.
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


class Retry(Struct, frozen=True):
    """
    The patience of a plan.

    Args:
        attempts: Attempts on one tier before the next one is tried; at least 1.
        base: Seconds that the first delay may take at most.
        longest: Seconds that no delay exceeds, unless the receiver asked for more.
        jitter: Returns a number in [0, 1); handed in so that tests can fix it.

    Raises:
        ValueError: If *attempts* is below 1 or a duration is negative.
    """

    attempts: int = 2
    base: float = 0.05
    longest: float = 5.0
    jitter: Callable[[], float] = _uniform

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")
        if self.base < 0 or self.longest < 0:
            raise ValueError(f"delays must not be negative: {self.base}, {self.longest}")

    def delay(self, failures: int, after: float | None = None) -> float:
        """
        Return the seconds to wait after *failures* failures in a row (1 or more).

        *after* is what the receiver asked for (`Retry-After`); it is a minimum.
        """
        ceiling = min(self.longest, self.base * 2.0 ** min(failures - 1, 32))
        return max(self.jitter() * ceiling, after or 0.0)
