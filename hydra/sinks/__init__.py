"""
Sinks: the tiers that a destination's settings stand for.
"""

from __future__ import annotations

from ._tiers import Chained, Hint, chain_of, render_of

__all__ = ["Chained", "Hint", "chain_of", "render_of"]
