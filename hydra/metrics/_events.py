"""
Events: what the functions of `hooks` are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PressureEvent:
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


@dataclass(frozen=True, slots=True)
class DropEvent:
    """
    Records for *destination* were dropped since the last such event.

    *count* of them; *drops* says how many by (level, reason).
    """

    destination: str
    count: int
    drops: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class FailoverEvent:
    """
    The tier *to_tier* took records of *destination*, since *from_tier* did not.

    *error* is what that one failed with last, as text.
    """

    destination: str
    from_tier: str
    to_tier: str
    error: str


@dataclass(frozen=True, slots=True)
class RecoveryEvent:
    """
    The destination itself takes records again, by *tier*, *seconds* after the failover.

    *held* records wait in files to be replayed to it.
    """

    destination: str
    tier: str
    seconds: float
    held: int
