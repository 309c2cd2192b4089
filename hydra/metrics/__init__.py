"""
Metrics: what the engine counts about itself, as an object and as Prometheus text.
"""

from __future__ import annotations

from ._prometheus import render
from ._stats import DestinationStats, JournalStats, Stats, TierStats

__all__ = ["DestinationStats", "JournalStats", "Stats", "TierStats", "render"]
