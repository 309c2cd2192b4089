"""
Control records: a destination's own output says what it lacks, and that it is complete.
"""

from __future__ import annotations

import asyncio
import json

import pytest

import hydra
from hydra.engine import ENGINE
from tests.contract.kit import Sink, block_writer, closed, configure, destination, proven

pytestmark = pytest.mark.integration

FULL = {"records": 16, "reserve": 2, "when_full": "drop_new"}


@pytest.fixture(name="log")
def _log() -> hydra.Logger:
    return hydra.get_logger("shop")


def overflow(sink: Sink, log: hydra.Logger, refused: int) -> None:
    """Have *refused* records dropped."""
    block_writer(sink, log)
    for n in range(16):
        log.info("fills the queue", n=n)
    for _ in range(refused):
        assert log.info("refused") is hydra.DROPPED
    sink.open()


def test_drops_are_declared(log):
    """How many, which numbers, why, and between which moments."""
    sink = Sink()
    configure(sink, queue=FULL)
    overflow(sink, log, 7)
    closed()
    (drops,) = [each for each in sink.controls if each["event"] == "drops"]
    (stream,) = [r["id"].partition(".")[2].partition("-")[0] for r in sink.records[:1]]

    assert "7 records dropped" == drops["message"]
    assert ("warning", "hydra.ledger", "app", 7) == tuple(
        drops[key] for key in ("level", "logger", "destination", "count")
    )
    assert [
        {
            "stream": stream, "from": 18, "to": 24, "count": 7, "level": "info",
            "reason": "queue_full",
        }
    ] == drops["drops"]  # fmt: skip
    assert drops["since"] <= drops["until"] <= drops["timestamp"]
    proven(sink.lines)


def test_one_record_dropped(log):
    """One is one."""
    sink = Sink()
    configure(sink, queue=FULL)
    overflow(sink, log, 1)
    closed()

    assert "1 record dropped" in [each["message"] for each in sink.controls]


def test_drops_are_declared_once_a_second_at_most(log):
    """However often records are dropped, the log is not flooded with saying so."""
    sink = Sink()
    configure(sink, queue=FULL)
    for _ in range(20):
        overflow(sink, log, 3)
        hydra.flush()
    before_close = sum(each["event"] == "drops" for each in sink.controls)
    closed()
    drops = [each for each in sink.controls if each["event"] == "drops"]

    assert before_close <= 2
    assert 60 == sum(each["count"] for each in drops)
    proven(sink.lines)


def test_many_ranges(log):
    """Ranges grow coarse rather than many; the counts stay exact."""
    sink = Sink()
    configure(sink, queue=FULL)
    writer = ENGINE.run.services["app"].writer
    for n in range(1, 4000, 2):
        writer.note_drop("9r", n, "info", "queue_full")
    log.info("placed")
    hydra.flush()
    hydra.close()
    drops = [each for each in sink.controls if each["event"] == "drops"]

    assert 2000 == sum(each["count"] for each in drops)
    assert sum(len(each["drops"]) for each in drops) <= 256
    assert all(d["count"] <= d["to"] - d["from"] + 1 for each in drops for d in each["drops"])
    assert all(len(line) < 65_536 for line in sink.lines)


def test_close_totals(log):
    """The close record has the last number of every stream, its own included."""
    sink = Sink()
    configure(sink, queue=FULL)
    overflow(sink, log, 5)
    log.error("failed")
    stats = closed()
    close = sink.controls[-1]

    assert ("close", "closed", "info") == (close["event"], close["message"], close["level"])
    assert stats.accepted == sum(n for label, n in close["totals"].items() if label[-1] in "rg")
    own = close["id"].partition(".")[2].rpartition("-")
    assert close["totals"][own[0]] == int(own[2])
    assert json.loads(sink.lines[-1])["id"] == close["id"]
    proven(sink.lines)


def test_control_records_use_the_ledger_of_nobody(log):
    """They are no deliveries: the counts are the application's records alone."""
    sink = Sink()
    configure(sink)
    log.info("placed")
    stats = closed()

    assert (1, 1) == (stats.accepted, stats.delivered)
    assert 1 == len(sink.controls)


def test_control_records_turned_off(log):
    """With control_records=False there is nothing in the output but what was logged."""
    sink = Sink()
    configure(sink, queue=FULL, control_records=False)
    overflow(sink, log, 5)
    stats = closed()

    assert [] == sink.controls
    assert 5 == stats.dropped


def test_control_records_pass_level_filters(log):
    """A destination for errors only still declares what it lost."""
    sink = Sink()
    hydra.configure(
        level="debug",
        journal={"enabled": False},
        destinations=[destination(sink, level="error", queue=FULL)],
    )
    sink.shut()

    async def main():
        # On a loop a call does not wait for a tier.
        log.error("hostage")
        assert sink.stuck.wait(20)
        return [log.error("failed", n=n) for n in range(16 + 2 + 5)]

    receipts = asyncio.run(main())
    del receipts
    sink.open()
    stats = closed()

    assert 5 == stats.dropped
    assert ["drops", "close"] == [each["event"] for each in sink.controls]
    proven(sink.lines)


def test_nothing_logged_nothing_written(tmp_path):
    """A run that logged nothing makes no file to say so."""
    path = tmp_path / "app.log"
    hydra.configure(destinations=[{"name": "app", "type": "file", "path": str(path)}])
    hydra.close()

    assert not path.exists()


def test_streams_of_two_routes(log):
    """Records for different sets of destinations are numbered apart, and each file is whole."""
    everything, errors = Sink(), Sink()
    hydra.configure(
        level="debug",
        destinations=[destination(everything, "all"), destination(errors, "bad", level="error")],
    )
    for n in range(50):
        log.info("placed", n=n)
        if n % 5 == 0:
            log.error("failed", n=n)
    closed()

    assert 50 == sum(n for k, n in proven(everything.lines).items() if k.endswith("r"))
    assert 10 == sum(n for k, n in proven(errors.lines).items() if k.endswith("g"))
    assert not [k for k in proven(errors.lines) if k.endswith("r")]


def test_filtered_and_sampled_calls_use_no_number(log):
    """A filter or a processor leaves no gap."""
    sink = Sink()

    def odd(logger, method, event):
        return event if event["n"] % 2 else None

    configure(sink, level="info", processors=[odd])
    for n in range(100):
        log.info("placed", n=n)
        log.debug("detail", n=n)
    stats = closed()

    assert (50, 50) == (stats.accepted, stats.suppressed)
    proven(sink.lines)
