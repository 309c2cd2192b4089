"""
A clock that stands still until a test moves it.
"""

from __future__ import annotations

from typing import Final

_NANO: Final = 1_000_000_000


class FakeClock:
    """
    A `fallbacks.clock.Clock` moved by hand.

    Args:
        start: What `monotonic` gives at first, in seconds.
        wall_ns: What `time_ns` gives at first, in nanoseconds since the epoch;
            by default 2026-01-01T00:00:00Z.
    """

    def __init__(self, start: float = 1000.0, wall_ns: int = 1_767_225_600 * _NANO) -> None:
        self._now = start
        self._wall_ns = wall_ns

    def monotonic(self) -> float:
        """Return seconds; the same until `advance`."""
        return self._now

    def time_ns(self) -> int:
        """Return nanoseconds since the epoch; the same until `advance` or `jump`."""
        return self._wall_ns

    def advance(self, seconds: float) -> None:
        """
        Let *seconds* pass on both clocks.

        Raises:
            ValueError: If *seconds* is negative; time does not go back, see `jump`.
        """
        if seconds < 0:
            raise ValueError(f"time cannot advance by {seconds} seconds; use jump")
        self._now += seconds
        self._wall_ns += round(seconds * _NANO)

    def jump(self, seconds: float) -> None:
        """Set the wall clock alone forward or back, as an administrator may."""
        self._wall_ns += round(seconds * _NANO)

    def __repr__(self) -> str:
        return f"<FakeClock {self._now}>"
