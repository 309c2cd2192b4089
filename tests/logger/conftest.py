"""
A sink that keeps its lines, and a logger that writes to it.
"""

from __future__ import annotations

import pytest

import hydra
from tests.contract.kit import Sink, configure


@pytest.fixture(name="sink")
def _sink() -> Sink:
    """Configure a sink that keeps its lines."""
    sink = Sink()
    configure(sink)
    return sink


@pytest.fixture(name="log")
def _log(sink: Sink) -> hydra.Logger:
    """Give a logger that writes to `sink`."""
    return hydra.get_logger("shop")
