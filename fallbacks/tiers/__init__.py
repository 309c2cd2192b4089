"""
The tiers in the box: files, consoles, callables and memory.

Importing this package loads neither asyncio nor aiofiles nor any thread; the
asynchronous tiers load what they need at their first write.
"""

from __future__ import annotations

from .async_file import AsyncFileTier
from .callable import AsyncCallableTier, CallableTier, tier_from
from .file import FileTier
from .memory import MemoryTier
from .stream import StreamTier

__all__ = [
    "AsyncCallableTier",
    "AsyncFileTier",
    "CallableTier",
    "FileTier",
    "MemoryTier",
    "StreamTier",
    "tier_from",
]
