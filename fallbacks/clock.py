"""
The clock as an argument: real time for users, moved by hand in tests.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two clocks that delivery needs."""

    def monotonic(self) -> float:
        """Return seconds for deadlines and back-off; never goes back."""

    def time_ns(self) -> int:
        """Return nanoseconds since the epoch for stamps; may jump."""


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)


SYSTEM_CLOCK = SystemClock()
