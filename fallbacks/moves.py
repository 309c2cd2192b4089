"""
Moves: what an answer leads to, as a table.

Rule: the pictures in the documentation are drawn from `MOVES`, and the plan knows
no other way from an answer to what comes next.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from .strategy import Strategy


class Answer(Enum):
    """The kind of an outcome, as far as the plan cares."""

    TAKEN = "taken"
    PART = "part taken"
    RETRYABLE = "retryable"
    FULL = "full"
    """There was no room for some lines, or for any. The tier works."""
    PERMANENT = "permanent"
    """Several lines were refused for good as one."""
    POISON = "poison"
    """A line was refused for good by itself, by a tier that stands for the destination."""
    DECLINED = "declined"
    """The same by any other tier."""
    UNKNOWN = "unknown"


class Move(Enum):
    """What the plan does after an answer."""

    SETTLE = "settle"
    """The batch is safe: done."""

    SPREAD = "spread"
    """This copy has it: offer it to the next one, or be done behind the last."""

    AGAIN = "again"
    """Wait for the back-off, then try the same tier."""

    NEXT = "next"
    """Try the next tier; when there is none, wait and begin a new round."""

    SPLIT = "split"
    """Offer the same tier fewer lines, from the front, to find the one it refuses."""

    REJECT = "reject"
    """The line leaves the delivery: no tier shall have it. Go on with the others."""

    SKIP = "skip"
    """Leave the line to other tiers; go on with the others here."""

    SUSPECT = "suspect"
    """As NEXT, but the lines may have been taken: they travel on as possible duplicates."""


# Keyed by strategy, answer, and whether the tier has attempts left. A strategy that
# knows another copy, or repairs, loses no time with a tier that took nothing. Where
# every copy is asked, what one refuses others may take; see `Delivery` for the end of it.
MOVES: Final[dict[tuple[Strategy, Answer, bool], Move]] = {
    (Strategy.FAILOVER, Answer.TAKEN, True): Move.SETTLE,
    (Strategy.FAILOVER, Answer.TAKEN, False): Move.SETTLE,
    (Strategy.FAILOVER, Answer.PART, True): Move.AGAIN,
    (Strategy.FAILOVER, Answer.PART, False): Move.NEXT,
    (Strategy.FAILOVER, Answer.RETRYABLE, True): Move.AGAIN,
    (Strategy.FAILOVER, Answer.RETRYABLE, False): Move.NEXT,
    (Strategy.FAILOVER, Answer.FULL, True): Move.NEXT,
    (Strategy.FAILOVER, Answer.FULL, False): Move.NEXT,
    (Strategy.FAILOVER, Answer.PERMANENT, True): Move.SPLIT,
    (Strategy.FAILOVER, Answer.PERMANENT, False): Move.SPLIT,
    (Strategy.FAILOVER, Answer.POISON, True): Move.REJECT,
    (Strategy.FAILOVER, Answer.POISON, False): Move.REJECT,
    (Strategy.FAILOVER, Answer.DECLINED, True): Move.SKIP,
    (Strategy.FAILOVER, Answer.DECLINED, False): Move.SKIP,
    (Strategy.FAILOVER, Answer.UNKNOWN, True): Move.SUSPECT,
    (Strategy.FAILOVER, Answer.UNKNOWN, False): Move.SUSPECT,
    (Strategy.MIRROR, Answer.TAKEN, True): Move.SPREAD,
    (Strategy.MIRROR, Answer.TAKEN, False): Move.SPREAD,
    (Strategy.MIRROR, Answer.PART, True): Move.AGAIN,
    (Strategy.MIRROR, Answer.PART, False): Move.NEXT,
    (Strategy.MIRROR, Answer.RETRYABLE, True): Move.NEXT,
    (Strategy.MIRROR, Answer.RETRYABLE, False): Move.NEXT,
    (Strategy.MIRROR, Answer.FULL, True): Move.NEXT,
    (Strategy.MIRROR, Answer.FULL, False): Move.NEXT,
    (Strategy.MIRROR, Answer.PERMANENT, True): Move.SPLIT,
    (Strategy.MIRROR, Answer.PERMANENT, False): Move.SPLIT,
    (Strategy.MIRROR, Answer.POISON, True): Move.SKIP,
    (Strategy.MIRROR, Answer.POISON, False): Move.SKIP,
    (Strategy.MIRROR, Answer.DECLINED, True): Move.SKIP,
    (Strategy.MIRROR, Answer.DECLINED, False): Move.SKIP,
    (Strategy.MIRROR, Answer.UNKNOWN, True): Move.SUSPECT,
    (Strategy.MIRROR, Answer.UNKNOWN, False): Move.SUSPECT,
    (Strategy.SPOOL, Answer.TAKEN, True): Move.SETTLE,
    (Strategy.SPOOL, Answer.TAKEN, False): Move.SETTLE,
    (Strategy.SPOOL, Answer.PART, True): Move.AGAIN,
    (Strategy.SPOOL, Answer.PART, False): Move.NEXT,
    (Strategy.SPOOL, Answer.RETRYABLE, True): Move.AGAIN,
    (Strategy.SPOOL, Answer.RETRYABLE, False): Move.NEXT,
    (Strategy.SPOOL, Answer.FULL, True): Move.NEXT,
    (Strategy.SPOOL, Answer.FULL, False): Move.NEXT,
    (Strategy.SPOOL, Answer.PERMANENT, True): Move.SPLIT,
    (Strategy.SPOOL, Answer.PERMANENT, False): Move.SPLIT,
    (Strategy.SPOOL, Answer.POISON, True): Move.REJECT,
    (Strategy.SPOOL, Answer.POISON, False): Move.REJECT,
    (Strategy.SPOOL, Answer.DECLINED, True): Move.SKIP,
    (Strategy.SPOOL, Answer.DECLINED, False): Move.SKIP,
    (Strategy.SPOOL, Answer.UNKNOWN, True): Move.SUSPECT,
    (Strategy.SPOOL, Answer.UNKNOWN, False): Move.SUSPECT,
    (Strategy.FASTEST, Answer.TAKEN, True): Move.SETTLE,
    (Strategy.FASTEST, Answer.TAKEN, False): Move.SETTLE,
    (Strategy.FASTEST, Answer.PART, True): Move.AGAIN,
    (Strategy.FASTEST, Answer.PART, False): Move.NEXT,
    (Strategy.FASTEST, Answer.RETRYABLE, True): Move.NEXT,
    (Strategy.FASTEST, Answer.RETRYABLE, False): Move.NEXT,
    (Strategy.FASTEST, Answer.FULL, True): Move.NEXT,
    (Strategy.FASTEST, Answer.FULL, False): Move.NEXT,
    (Strategy.FASTEST, Answer.PERMANENT, True): Move.SPLIT,
    (Strategy.FASTEST, Answer.PERMANENT, False): Move.SPLIT,
    (Strategy.FASTEST, Answer.POISON, True): Move.REJECT,
    (Strategy.FASTEST, Answer.POISON, False): Move.REJECT,
    (Strategy.FASTEST, Answer.DECLINED, True): Move.SKIP,
    (Strategy.FASTEST, Answer.DECLINED, False): Move.SKIP,
    (Strategy.FASTEST, Answer.UNKNOWN, True): Move.SUSPECT,
    (Strategy.FASTEST, Answer.UNKNOWN, False): Move.SUSPECT,
    (Strategy.QUORUM, Answer.TAKEN, True): Move.SPREAD,
    (Strategy.QUORUM, Answer.TAKEN, False): Move.SPREAD,
    (Strategy.QUORUM, Answer.PART, True): Move.AGAIN,
    (Strategy.QUORUM, Answer.PART, False): Move.NEXT,
    (Strategy.QUORUM, Answer.RETRYABLE, True): Move.NEXT,
    (Strategy.QUORUM, Answer.RETRYABLE, False): Move.NEXT,
    (Strategy.QUORUM, Answer.FULL, True): Move.NEXT,
    (Strategy.QUORUM, Answer.FULL, False): Move.NEXT,
    (Strategy.QUORUM, Answer.PERMANENT, True): Move.SPLIT,
    (Strategy.QUORUM, Answer.PERMANENT, False): Move.SPLIT,
    (Strategy.QUORUM, Answer.POISON, True): Move.SKIP,
    (Strategy.QUORUM, Answer.POISON, False): Move.SKIP,
    (Strategy.QUORUM, Answer.DECLINED, True): Move.SKIP,
    (Strategy.QUORUM, Answer.DECLINED, False): Move.SKIP,
    (Strategy.QUORUM, Answer.UNKNOWN, True): Move.SUSPECT,
    (Strategy.QUORUM, Answer.UNKNOWN, False): Move.SUSPECT,
}
