"""
Killed at any moment: what a returned ERROR call has promised is kept.
"""

from __future__ import annotations

import pytest

from tests.faults import _rounds
from tests.faults.programs import World

pytestmark = pytest.mark.faults

CYCLES = 500


@pytest.mark.timeout(150)
def test_killed_five_hundred_times(tmp_path):
    """
    Each promised ERROR is in the log after the next start, and no id is there twice.
    """
    found = _rounds.kill(World(tmp_path), CYCLES, seed=11, seconds=110)
    print(found)

    assert CYCLES == found.kills
    assert CYCLES < found.promised
    assert found.flawless, found
