"""
Bounded queues: admission, the entries that travel in them, parked lines.
"""

from __future__ import annotations

from ._entries import Barrier, Entry, Fate, Parked, State
from ._fifo import Fifo, Item, WhenFull

__all__ = ["Barrier", "Entry", "Fate", "Fifo", "Item", "Parked", "State", "WhenFull"]
