from __future__ import annotations

import pytest

from tests.engine._world import World


@pytest.fixture(name="world")
def _world():
    """Make worlds, and close them."""
    worlds = []

    def make(strategy="failover", **options):
        worlds.append(World(strategy, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
