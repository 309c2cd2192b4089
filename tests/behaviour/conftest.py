"""
Sinks that a test may shut, and that are open again before hydra closes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.kit import Sink


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Return a sink that takes everything until it is shut."""
    made = Sink()
    yield made
    made.open()


@pytest.fixture
def other() -> Iterator[Sink]:
    """Return a second such sink."""
    made = Sink()
    yield made
    made.open()
