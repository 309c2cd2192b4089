"""
The journal: records that must survive the process, kept in the kernel until every
destination has them.

`Journal` is the live side, `adopt` takes over what dead runs left, `inspect`
looks without touching. `frames` is the format.
"""

from __future__ import annotations

from .journal import Journal, JournalFull, JournalStatistics
from .recovery import Recovered, Refusals, SegmentFacts, adopt, inspect
from .segment import Entry, Segment

__all__ = [
    "Entry",
    "Journal",
    "JournalFull",
    "JournalStatistics",
    "Recovered",
    "Refusals",
    "Segment",
    "SegmentFacts",
    "adopt",
    "inspect",
]
