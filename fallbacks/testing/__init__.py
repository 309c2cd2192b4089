"""
What tests of tiers need: a clock, a tier and a file system that fail on demand, and
`check_tier`, which tries a tier of your own against the rules.
"""

from __future__ import annotations

from .conformance import Case, Nonconforming, Verdict, Violation, check_tier, tier_cases
from .fake_clock import FakeClock
from .faulty_filesystem import FaultyFilesystem, FaultyProcess, Killed
from .faulty_tier import HANG, FaultyAsyncTier, FaultyTier, Hang

__all__ = [
    "HANG",
    "Case",
    "FakeClock",
    "FaultyAsyncTier",
    "FaultyFilesystem",
    "FaultyProcess",
    "FaultyTier",
    "Hang",
    "Killed",
    "Nonconforming",
    "Verdict",
    "Violation",
    "check_tier",
    "tier_cases",
]
