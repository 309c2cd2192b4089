"""
Metrics: what the engine counts about itself, as an object and as Prometheus text.
"""

from __future__ import annotations

from ._events import DropEvent, FailoverEvent, PressureEvent, RecoveryEvent
from ._prometheus import render
from ._stats import DestinationStats, HookStats, JournalStats, Stats, TierStats

__all__ = [
    "DestinationStats",
    "DropEvent",
    "FailoverEvent",
    "HookStats",
    "JournalStats",
    "PressureEvent",
    "RecoveryEvent",
    "Stats",
    "TierStats",
    "render",
]
