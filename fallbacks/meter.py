"""
What a chain measures about one tier: lines taken, attempts failed, latency.

Rule: one writer, the ticket holder; readers take a snapshot and may see an
attempt of which only a part is counted.
"""

from __future__ import annotations

from typing import Final

# Bucket k holds attempts of less than 2**k microseconds; the last one is open.
_BUCKETS: Final = 32


class Meter:
    """Counts and a logarithmic latency histogram; a percentile is right within a factor of 2."""

    __slots__ = ("attempts", "buckets", "failed", "last_error", "seconds", "taken")

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

    def record(self, seconds: float) -> None:
        """Count one attempt that took *seconds*."""
        self.attempts += 1
        self.seconds += seconds
        self.buckets[min(max(0, int(seconds * 1e6)).bit_length(), _BUCKETS - 1)] += 1

    def fail(self, error: BaseException | str | None) -> None:
        """Count one attempt that failed with *error*."""
        self.failed += 1
        self.last_error = error

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
