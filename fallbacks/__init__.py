"""
Fallbacks: move batches of opaque lines through tiers, and lose none silently.

A library in its own right: it knows nothing of logging. `Chain` drives tiers by a
`Plan`; `HeldStore` keeps lines for replay; `Journal` keeps what must survive the
process; `Drops` and `Balance` say where everything went. `Sender` and `AsyncSender`
join a chain and its held store for whoever has lines and no engine.
"""

from __future__ import annotations

# Up to Python 3.12 the thread that imports it first is the main one to it, for good, and
# event loops and signal handlers rely on that: it must not be one of ours, in which a
# sink may be the first to need it.
import threading as _threading  # noqa: F401

from ._sending import Sent
from .batch import Batch
from .breaker import Breaker
from .chain import Chain
from .clock import SYSTEM_CLOCK, Clock, SystemClock
from .delivery import Delivery
from .held import Chunk, HeldStore
from .ledger import Balance, Drops, Range, Report
from .meter import Meter
from .outcomes import DELIVERED, Delivered, Full, Outcome, Partial, Permanent, Retryable, Unknown
from .plan import Health, Plan
from .position import Position
from .retry import Retry
from .score import Score
from .sender import AsyncSender, Sender
from .strategy import Rule, Strategy
from .system import SYSTEM, System
from .ticket import Ticket
from .tier import AsyncTier, Kind, SyncTier, Tier

__all__ = [
    "DELIVERED",
    "SYSTEM",
    "SYSTEM_CLOCK",
    "AsyncSender",
    "AsyncTier",
    "Balance",
    "Batch",
    "Breaker",
    "Chain",
    "Chunk",
    "Clock",
    "Delivered",
    "Delivery",
    "Drops",
    "Full",
    "Health",
    "HeldStore",
    "Kind",
    "Meter",
    "Outcome",
    "Partial",
    "Permanent",
    "Plan",
    "Position",
    "Range",
    "Report",
    "Retry",
    "Retryable",
    "Rule",
    "Score",
    "Sender",
    "Sent",
    "Strategy",
    "SyncTier",
    "System",
    "SystemClock",
    "Ticket",
    "Tier",
    "Unknown",
]
