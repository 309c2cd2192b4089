"""
Control records: the lines in which a destination's file speaks about itself.
"""

from __future__ import annotations

import json

import pytest

from fallbacks.ledger import Drops
from fallbacks.testing.fake_clock import FakeClock
from hydra.core.line import LineEncoder
from hydra.engine._control import ControlStream

pytestmark = pytest.mark.unit


@pytest.fixture
def control():
    """Give the control stream of a destination called app."""
    return ControlStream(b',"id":"k3f9x2ab71qz.4c-', "4c", "app", LineEncoder())


def test_drops_are_declared_in_the_fixed_form(control):
    """Every field of the format is there, and the id is the last key."""
    clock = FakeClock()
    drops = Drops(clock)
    for n in (5, 6, 7):
        drops.note("1r", n, "info", "queue_full")
    drops.note("1g", 2, "error", "closed")

    (line,) = control.report("drops", "dropped", drops.report(), clock.time_ns())

    assert line.endswith(b',"id":"k3f9x2ab71qz.4c-1"}\n')
    found = json.loads(line)
    assert [
        "timestamp",
        "level",
        "logger",
        "message",
        "event",
        "destination",
        "count",
        "drops",
        "since",
        "until",
        "id",
    ] == list(found)
    assert ("warning", "hydra.ledger", "4 records dropped", "drops", "app", 4) == tuple(
        found[key] for key in ("level", "logger", "message", "event", "destination", "count")
    )
    assert [
        {"stream": "1r", "from": 5, "to": 7, "count": 3, "level": "info", "reason": "queue_full"},
        {"stream": "1g", "from": 2, "to": 2, "count": 1, "level": "error", "reason": "closed"},
    ] == found["drops"]


@pytest.mark.parametrize("gaps", [1, 199, 200, 201, 1000, 5000])
def test_long_reports_are_parted_and_stay_exact(control, gaps):
    """However scattered the drops are, the lines stay within a record's size and add up."""
    clock = FakeClock()
    drops = Drops(clock)
    for n in range(gaps):
        drops.note("1r", 2 * n + 1, "info", "queue_full")

    lines = list(control.report("drops", "dropped", drops.report(), clock.time_ns()))

    assert all(len(line) < 64 * 1024 for line in lines)
    found = [json.loads(line) for line in lines]
    assert gaps == sum(record["count"] for record in found)
    ranges = [r for record in found for r in record["drops"]]
    assert gaps == sum(r["count"] for r in ranges)
    assert all(r["count"] <= r["to"] - r["from"] + 1 for r in ranges)
    assert list(range(1, len(lines) + 1)) == [int(r["id"].rpartition("-")[2]) for r in found]
    assert drops.report() is None


def test_close_counts_itself(control):
    """The totals of a close include the control stream up to this very record."""
    clock = FakeClock()
    drops = Drops(clock)
    drops.note("1r", 1, "info", "queue_full")
    list(control.report("drops", "dropped", drops.report(), clock.time_ns()))

    found = json.loads(control.close({"1r": 100, "1g": 3}, clock.time_ns()))

    assert {"1r": 100, "1g": 3, "4c": 2} == found["totals"]
    assert ("info", "closed", "close", "app") == tuple(
        found[key] for key in ("level", "message", "event", "destination")
    )
    assert found["id"].endswith(".4c-2")
