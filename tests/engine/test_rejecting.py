"""
Records that a destination refuses for good.
"""

from __future__ import annotations

import json

import pytest

import hydra
from fallbacks.outcomes import Permanent

pytestmark = pytest.mark.integration

PATIENCE = 10.0


class Picky:
    """A sink that refuses every batch with a bad record in it."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.calls = 0

    def __call__(self, lines: list[bytes]) -> Permanent | None:
        self.calls += 1
        found = [json.loads(line) for line in lines]
        if any(record.get("bad") for record in found):
            return Permanent("not of the schema")
        self.taken += [record["n"] for record in found if "n" in record]
        return None


def test_bad_records_among_good_ones(tmp_path) -> None:
    """
    The good ones arrive in order; the bad ones are tried on no fallback, and counted.
    """
    sink = Picky()
    spare: list[bytes] = []
    hydra.configure(
        destinations=[
            {
                "name": "app",
                "type": "sink",
                "sink": sink,
                "fallback": [{"type": "sink", "sink": spare.extend}],
            }
        ],
        state_dir=str(tmp_path / "state"),
    )
    log = hydra.get_logger("shop")
    for n in range(300):
        log.info("n", n=n, bad=n in {7, 99, 100})
    stats = hydra.flush(PATIENCE)

    assert [n for n in range(300) if n not in {7, 99, 100}] == sink.taken
    assert {("info", "refused"): 3} == dict(stats.drops)
    assert (True, 0, []) == (stats.balanced, stats.pending, spare)


def test_error_that_is_refused(tmp_path) -> None:
    """
    Its receipt says so, and the journal does not bring it back at the next start.
    """
    sink = Picky()
    options = {
        "destinations": [{"name": "app", "type": "sink", "sink": sink}],
        "state_dir": str(tmp_path / "state"),
    }
    hydra.configure(**options)
    told = hydra.get_logger("shop").error("no", bad=True).wait(PATIENCE)
    hydra.close()
    calls = sink.calls
    hydra.configure(**options)
    stats = hydra.flush(PATIENCE)

    assert (["app"], False) == (list(told.dropped), told.delivered)
    assert (0, calls) == (stats.accepted, sink.calls)
