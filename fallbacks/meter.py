"""
What a chain measures about one tier: lines taken, attempts failed, latency, breaker.

Rule: one writer, the ticket holder; readers take a snapshot and may see an
attempt of which only a part is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

# Bucket k holds attempts of at most 2**k microseconds; the last one is open.
_BUCKETS: Final = 32
# The bounds that a histogram shows, as powers: 16 us, 64 us, ... 67 s.
_BOUNDS: Final = range(4, 27, 2)
_AT_FIRST: Final = "closed"
# Changes of the breaker that are remembered.
_CHANGES: Final = 16


class Change(NamedTuple):
    """A breaker changed its state."""

    time_ns: int
    """When, in nanoseconds since the epoch."""
    state: str
    """To what: `closed`, `open` or `probing`."""


class Meter:
    """Counts and a logarithmic latency histogram; a percentile is right within a factor of 2."""

    __slots__ = ("attempts", "buckets", "changes", "failed", "last_error", "seconds", "taken")

    def __init__(self) -> None:
        self.attempts = 0
        self.failed = 0
        """Attempts that did not take every line they were given."""
        self.taken = 0
        """Lines taken."""
        self.seconds = 0.0
        """Seconds spent in attempts."""
        self.last_error: BaseException | str | None = None
        self.buckets = [0] * _BUCKETS
        self.changes: tuple[Change, ...] = ()
        """The last changes of the breaker, oldest first."""

    def record(self, seconds: float) -> None:
        """Count one attempt that took *seconds*."""
        self.attempts += 1
        self.seconds += seconds
        power = max(0, int(seconds * 1e6) - 1).bit_length()
        # A bound belongs to its bucket, and no more than that.
        power += seconds > 2**power / 1e6
        self.buckets[min(power, _BUCKETS - 1)] += 1

    def fail(self, error: BaseException | str | None) -> None:
        """Count one attempt that failed with *error*."""
        self.failed += 1
        self.last_error = error

    @property
    def throughput(self) -> float | None:
        """Lines taken for each second spent in attempts; None before the first."""
        return self.taken / self.seconds if self.seconds > 0 else None

    def note_state(self, state: str, time_ns: Callable[[], int]) -> None:
        """Note the *state* of the breaker; *time_ns* is asked when it is another one."""
        before = self.changes[-1].state if self.changes else _AT_FIRST
        if state != before:
            self.changes = (*self.changes[1 - _CHANGES :], Change(time_ns(), state))

    def histogram(self) -> tuple[tuple[float, int], ...]:
        """
        Return how many attempts took at most so many seconds, for a rising row of bounds.

        The last bound is infinity, and its count that of all attempts.
        """
        buckets, found, seen = list(self.buckets), [], 0
        for power, count in enumerate(buckets[:-1]):
            seen += count
            if power in _BOUNDS:
                found.append((2**power / 1e6, seen))
        return (*found, (inf, sum(buckets)))

    def percentile(self, share: float) -> float | None:
        """Return seconds that *share* (0 to 1) of the attempts took at most; None without any."""
        buckets = list(self.buckets)
        wanted = share * sum(buckets)
        seen = 0
        for power, count in enumerate(buckets):
            seen += count
            if count and seen >= wanted:
                return float(2**power) / 1e6
        return None
