"""
Held lines: a fallback file that gives back what it was given, once.

`HeldStore` takes lines and offers them for replay; a `Chunk` is what it offers.
`Ids` is a set of ids in little memory.
"""

from __future__ import annotations

from ._facts import Chunk, HeldStatistics
from ._ids import Ids
from ._store import HeldStore

__all__ = ["Chunk", "HeldStatistics", "HeldStore", "Ids"]
