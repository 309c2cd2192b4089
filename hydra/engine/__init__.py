"""
The engine room: streams, receipts, writers, runs, and the hooks into the process.
"""

from __future__ import annotations

from ._build import warn
from ._compiled import COMPILED, level_method
from ._engine import ENGINE, Engine
from ._receipts import (
    DROPPED,
    FILTERED,
    QUEUED,
    SAMPLED,
    Durability,
    OwnReceipt,
    Receipt,
    Settlement,
)
from ._routes import Routes
from ._run import Run, layer_of
from ._scope import Lease, Scope
from ._stream import Stream

__all__ = [
    "COMPILED",
    "DROPPED",
    "ENGINE",
    "FILTERED",
    "QUEUED",
    "SAMPLED",
    "Durability",
    "Engine",
    "Lease",
    "OwnReceipt",
    "Receipt",
    "Routes",
    "Run",
    "Scope",
    "Settlement",
    "Stream",
    "layer_of",
    "level_method",
    "warn",
]
