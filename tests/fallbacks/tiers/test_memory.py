from __future__ import annotations

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED
from fallbacks.tier import Kind, SyncTier
from fallbacks.tiers import MemoryTier

pytestmark = pytest.mark.unit


def test_last_lines_are_kept_and_the_others_counted():
    """
    The oldest lines make room, also within one batch, and none is forgotten silently.
    """
    tier = MemoryTier(3)
    outcomes = [
        tier.write(Batch([b"1\n", b"2\n"])),
        tier.write(Batch([b"%d\n" % n for n in range(5)])),
    ]
    tier.close()

    assert [DELIVERED, DELIVERED] == outcomes
    assert (b"2\n", b"3\n", b"4\n") == tier.lines
    assert 4 == tier.dropped
    assert "<MemoryTier memory [3/3 lines]>" == repr(tier)


def test_snapshot_does_not_change():
    """
    What was read stays as it was when more is written.
    """
    tier = MemoryTier(name="last words")
    tier.write(Batch([b"1\n"]))
    before = tier.lines
    tier.write(Batch([b"2\n"]))

    assert (b"1\n",) == before
    assert 0 == tier.dropped
    assert isinstance(tier, SyncTier)
    assert (Kind.FINAL, "last words") == (tier.kind, tier.name)


def test_no_capacity_is_refused():
    """
    A memory of nothing would drop everything.
    """
    with pytest.raises(ValueError, match="at least 1, not 0"):
        MemoryTier(0)
