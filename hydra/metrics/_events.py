"""
Events: what the functions of `hooks` are given.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class PressureEvent(Struct, frozen=True):
    """
    The queue of *destination* passed its high-water mark, or fell below its low-water mark.

    *high* says which. *depth* of *capacity* places are taken, a long record taking more
    than one; *blocked_seconds* is how long callers have been made to wait, all together.
    """

    destination: str
    high: bool
    depth: int
    capacity: int
    blocked_seconds: float


class DropEvent(Struct, frozen=True):
    """
    Records for *destination* were dropped since the last such event.

    *count* of them; *drops* says how many by (level, reason).
    """

    destination: str
    count: int
    drops: Mapping[tuple[str, str], int]


class FailoverEvent(Struct, frozen=True):
    """
    The tier *to_tier* took records of *destination*, since *from_tier* did not.

    *error* is what that one failed with last, as text.
    """

    destination: str
    from_tier: str
    to_tier: str
    error: str


class RecoveryEvent(Struct, frozen=True):
    """
    The destination itself takes records again, by *tier*, *seconds* after the failover.

    *held* records wait in files to be replayed to it.
    """

    destination: str
    tier: str
    seconds: float
    held: int
