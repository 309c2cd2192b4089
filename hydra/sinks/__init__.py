"""
Sinks: the tiers that a destination's settings stand for.
"""

from __future__ import annotations

from ._reach import Reach
from ._tiers import Chained, Hint, chain_of, render_of

__all__ = ["Chained", "Hint", "Reach", "chain_of", "render_of"]
