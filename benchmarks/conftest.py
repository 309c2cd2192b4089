"""
What the cases of `make bench-micro` share.
"""

from __future__ import annotations

import pytest

from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, LineEncoder, logger_tag
from hydra.processors import Redactor

NS = 1_795_225_440_123_456_789
FIELDS = {"order_id": 42, "user": "alice", "path": "/api/v1/orders", "status": 200, "ms": 12.5}


@pytest.fixture(name="encoder")
def _encoder():
    return LineEncoder(Redactor())


@pytest.fixture(name="line")
def _line(encoder):
    body = encoder.body(NS, level_tag(20), logger_tag("shop"), "order placed", EMPTY, EMPTY, FIELDS)
    return body + b',"id":"pckhoe7jsetr.2r-1"}\n'
