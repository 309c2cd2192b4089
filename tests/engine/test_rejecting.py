"""
Records that a destination refuses for good.
"""

from __future__ import annotations

import json
import threading

import pytest

import hydra
from fallbacks.dead_letters import read
from fallbacks.outcomes import Permanent
from fallbacks.system import SYSTEM
from hydra.engine import ENGINE

pytestmark = pytest.mark.integration

PATIENCE = 10.0


def aside(directory):
    """Return the records that are kept aside in the state directory *directory*."""
    [path] = directory.glob("**/*.dead")
    return [json.loads(letter.line) for letter in read(SYSTEM, str(path)).letters]


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
    assert {("info", "dead_letter"): 3} == dict(stats.drops)
    assert (True, 0, []) == (stats.balanced, stats.pending, spare)
    assert [7, 99, 100] == [record["n"] for record in aside(tmp_path)]
    assert 3 == stats.destinations["app"].dead_letters
    assert 'hydra_dead_letters_total{destination="app"} 3' in hydra.metrics_text()


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

    assert ({"app": "dead_letter"}, False) == (dict(told.dropped), told.delivered)
    assert (0, calls) == (stats.accepted, sink.calls)
    assert ["no"] == [record["message"] for record in aside(tmp_path)]


def test_declared_in_the_destination(tmp_path) -> None:
    """
    The destination itself is told which numbers it lacks, and why.
    """
    seen: list[dict] = []
    picky = Picky()

    def sink(lines: list[bytes]) -> Permanent | None:
        answer = picky(lines)
        if answer is None:
            seen.extend(map(json.loads, lines))
        return answer

    hydra.configure(
        destinations=[{"name": "app", "type": "sink", "sink": sink}],
        state_dir=str(tmp_path / "state"),
    )
    log = hydra.get_logger("shop")
    for n in range(3):
        log.info("n", n=n, bad=n == 1)
    hydra.close(PATIENCE)
    [said] = [record for record in seen if record.get("event") == "drops"]

    assert [(2, 2, "dead_letter")] == [(d["from"], d["to"], d["reason"]) for d in said["drops"]]


def test_refused_at_its_replay(tmp_path) -> None:
    """
    What was held during an outage and is bad goes aside as well, and holds nothing up.
    """
    sink = Picky()
    down = [True]

    def flaky(lines: list[bytes]) -> Permanent | None:
        if down[0]:
            raise ConnectionError("down")
        return sink(lines)

    hydra.configure(
        destinations=[{"name": "app", "type": "sink", "sink": flaky, "retries": 0}],
        state_dir=str(tmp_path / "state"),
    )
    log = hydra.get_logger("shop")
    for n in range(50):
        log.info("n", n=n, bad=n in {0, 20, 49})
    assert 50 == hydra.flush(PATIENCE).held
    down[0] = False
    while hydra.flush(PATIENCE).held:
        """What is held is on its way."""
    stats = hydra.flush(PATIENCE)

    assert [n for n in range(50) if n not in {0, 20, 49}] == sink.taken
    assert [0, 20, 49] == [record["n"] for record in aside(tmp_path)]
    assert (47, 3, True) == (stats.replayed, stats.dropped, stats.balanced)


def test_nowhere_to_keep_it_aside(tmp_path) -> None:
    """
    Without a place, a record below ERROR is dropped as refused.
    """
    sink = Picky()
    hydra.configure(
        destinations=[{"name": "app", "type": "sink", "sink": sink}],
        state_dir=str(tmp_path / "state"),
    )
    assert ENGINE.run is not None
    ENGINE.run.services["app"].writer.rejects.dead_letters = None
    hydra.get_logger("shop").info("no", bad=True)
    stats = hydra.flush(PATIENCE)

    assert {("info", "refused"): 1} == dict(stats.drops)
    assert stats.balanced


def test_three_of_a_thousand_are_found_in_sixty_calls():
    """Through the engine: 997 arrive, three are kept aside, and the sink is not worn out."""
    calls: list[int] = []
    taken: list[int] = []

    stuck, queued = threading.Event(), threading.Event()

    def strict(lines):
        if not stuck.is_set():
            stuck.set()
            queued.wait(PATIENCE)
            return None
        calls.append(len(lines))
        numbers = [json.loads(line)["n"] for line in lines]
        if {7, 500, 998} & set(numbers):
            return Permanent("n is not of the schema")
        taken.extend(numbers)
        return None

    hydra.configure(
        control_records=False,
        destinations=[{"name": "app", "type": "sink", "sink": strict, "batch": 1_000}],
        queue={"records": 2_000},
    )
    log = hydra.get_logger("shop")
    log.info("first")
    assert stuck.wait(PATIENCE)
    for n in range(1_000):
        log.info("placed", n=n)
    queued.set()
    stats = hydra.close(PATIENCE)

    assert [n for n in range(1_000) if n not in {7, 500, 998}] == sorted(taken)
    assert {("info", "dead_letter"): 3} == stats.drops
    assert (998, 3, True) == (stats.delivered, stats.dropped, stats.balanced)
    assert calls[0] == 1_000
    assert len(calls) <= 60


def test_quota_of_dead_letters(tmp_path) -> None:
    """`dead_letters` bounds their file; ordinary records beyond it are dropped as refused."""
    hydra.configure(
        destinations=[
            {"name": "app", "type": "sink", "sink": Picky(), "dead_letters": "64 KiB", "batch": 1}
        ],
        state_dir=str(tmp_path / "state"),
    )
    log = hydra.get_logger("shop")
    for n in range(10):
        log.info("n", n=n, bad=True, pad="x" * 10_000)
    stats = hydra.flush(PATIENCE)
    kept = [record["n"] for record in aside(tmp_path)]

    assert [0, 1, 2, 3, 4, 5] == kept
    assert {("info", "dead_letter"): 6, ("info", "refused"): 4} == dict(stats.drops)
    assert (True, 0) == (stats.balanced, stats.pending)
