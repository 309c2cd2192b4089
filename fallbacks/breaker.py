"""
The circuit breaker: may a tier be tried now, or is it resting?

Rule 1: no clock, no lock, no I/O in here; callers pass *now* in monotonic seconds.
Rule 2: a state changes by a row of `MOVES` and in no other way; the picture in
the documentation is drawn from that table.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

LONGEST_ORDERED: Final = 3600.0
"""Seconds that a receiver may ask to be left alone for; a typing error must not mean for ever."""


class State(Enum):
    """What a breaker thinks of its tier."""

    CLOSED = "closed"
    """Healthy: every attempt may pass."""

    OPEN = "open"
    """Resting after failures: nothing passes until the rest is over."""

    PROBING = "probing"
    """The rest is over and one attempt is out to see how things are."""


class Event(Enum):
    """What happens to a breaker."""

    SUCCEEDED = "succeeded"
    FAILED_OUT = "failed out"
    RESTED = "rested"
    TOLD_TO_REST = "told to rest"


# A success that arrives while the breaker is open belongs to an attempt made
# before it opened (a late answer). It proves that the tier is alive, so it
# closes the breaker; a late failure tells nothing new and is not listed.
MOVES: Final[dict[tuple[State, Event], State]] = {
    (State.CLOSED, Event.FAILED_OUT): State.OPEN,
    (State.OPEN, Event.RESTED): State.PROBING,
    (State.OPEN, Event.SUCCEEDED): State.CLOSED,
    (State.PROBING, Event.SUCCEEDED): State.CLOSED,
    (State.PROBING, Event.FAILED_OUT): State.OPEN,
    (State.CLOSED, Event.TOLD_TO_REST): State.OPEN,
    (State.PROBING, Event.TOLD_TO_REST): State.OPEN,
}


class Breaker:
    """
    Keep a failing tier from being tried with every batch. Not thread-safe.

    Args:
        threshold: Failed attempts in a row that open it; at least 1.
        rest: Seconds of the first rest. Each failed probe doubles it.
        longest: Seconds that a rest never exceeds.

    Raises:
        ValueError: If *threshold* is below 1 or a duration is negative.
    """

    __slots__ = ("_pause", "_streak", "_until", "longest", "opened", "rest", "state", "threshold")

    def __init__(self, threshold: int = 2, rest: float = 1.0, longest: float = 30.0) -> None:
        if threshold < 1:
            raise ValueError(f"threshold must be at least 1, not {threshold}")
        if rest < 0 or longest < 0:
            raise ValueError(f"rests must not be negative: {rest}, {longest}")
        self.threshold = threshold
        self.rest = rest
        self.longest = longest
        self.state = State.CLOSED
        self.opened = 0
        """How often it has opened so far."""
        self._streak = 0
        self._until = 0.0
        self._pause = 0.0

    def allows(self, now: float) -> bool:
        """Return whether an attempt may start at *now*; True for an open one means: as a probe."""
        return self.state is not State.OPEN or now >= self._until

    def begin(self, now: float) -> None:
        """Note that an attempt starts at *now*; answer it with `succeeded` or `failed`."""
        if self.state is State.OPEN and now >= self._until:
            self._fire(Event.RESTED)

    def succeeded(self) -> None:
        """Note that an attempt was answered with a delivery."""
        self._streak = 0
        self._pause = 0.0
        self._fire(Event.SUCCEEDED)

    def failed(self, now: float) -> None:
        """Note at *now* that an attempt failed or went unanswered."""
        self._streak += 1
        # While it probes the streak is that long already: one failure is enough.
        if self._streak >= self.threshold:
            before = self.state
            self._fire(Event.FAILED_OUT)
            # Not by the time: an earlier rest may not be over when it opens again,
            # and a failure that comes late must not begin another one.
            if self.state is not before:
                self._pause = min(self._pause * 2 or self.rest, self.longest)
                self._until = now + self._pause
                self.opened += 1

    def told_to_rest(self, now: float, seconds: float) -> None:
        """
        Note at *now* that the tier asked for *seconds* without an attempt (`Retry-After`).

        More than `LONGEST_ORDERED` is not granted. A rest that lasts longer already stays.
        """
        before = self.state
        self._fire(Event.TOLD_TO_REST)
        until = now + min(seconds, LONGEST_ORDERED)
        self._until = max(self._until, until) if before is State.OPEN else until
        self.opened += before is not State.OPEN

    def hasten(self) -> None:
        """End the rest now: the next attempt may start at once, as a probe."""
        self._until = -math.inf

    def wait(self, now: float) -> float:
        """Return the seconds from *now* until an attempt may start; 0 when it may at once."""
        return max(0.0, self._until - now) if self.state is State.OPEN else 0.0

    def _fire(self, event: Event) -> None:
        self.state = MOVES.get((self.state, event), self.state)
