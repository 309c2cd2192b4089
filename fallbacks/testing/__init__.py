"""
What tests of tiers need: a clock, a tier and a file system that fail on demand.
"""

from __future__ import annotations

from .fake_clock import FakeClock
from .faulty_filesystem import FaultyFilesystem, FaultyProcess, Killed
from .faulty_tier import HANG, FaultyAsyncTier, FaultyTier, Hang

__all__ = [
    "HANG",
    "FakeClock",
    "FaultyAsyncTier",
    "FaultyFilesystem",
    "FaultyProcess",
    "FaultyTier",
    "Hang",
    "Killed",
]
