"""
Memory runs out in the middle of a call.

Rule: the call returns, nothing is raised into the application, and the number that
was taken is dropped and declared.
"""

from __future__ import annotations

import pytest

import hydra
from hydra.engine import ENGINE
from tests.contract.kit import Sink, closed, configure, proven

pytestmark = pytest.mark.integration


class Exhausted:
    """Bytes that cannot be made into a line, so many times."""

    def __init__(self, times: int, data: bytes) -> None:
        self.times = times
        self.data = data

    def __bytes__(self) -> bytes:
        if self.times:
            self.times -= 1
            raise MemoryError
        return self.data


@pytest.fixture(name="log")
def _log() -> hydra.Logger:
    return hydra.get_logger("shop")


@pytest.mark.usefixtures("pure_python")
@pytest.mark.parametrize("way", ["one destination", "two destinations", "tracked", "error"])
def test_line_cannot_be_made(log, way):
    """Without memory for the line its number is dropped at every destination, for that reason."""
    sinks = [Sink(), Sink()] if way == "two destinations" else [Sink()]
    configure(*sinks)
    log = log.tracked() if way == "tracked" else log
    method, level = (log.error, "error") if way == "error" else (log.info, "info")
    method("before")
    stream = ENGINE.run.route("shop", 40 if way == "error" else 20)
    stream.prefix = Exhausted(3, stream.prefix)
    # The way of a plain record keeps the prefix that it was made with.
    log._routes.by_level.clear()
    answers = [method("lost") for _ in range(3)]
    method("after")
    stats = closed()

    assert [hydra.DROPPED] * 3 == answers
    assert {(level, "no_memory"): 3 * len(sinks)} == stats.drops
    for sink in sinks:
        assert ["before", "after"] == sink.messages
        proven(sink.lines)


def test_journal_cannot_make_its_frame(log, monkeypatch):
    """An ERROR that the journal has no memory for is queued all the same."""
    sink = Sink()
    configure(sink)
    log.error("before")
    tries = [True] * 3
    real = type(ENGINE.run.keeper).append

    def append(keeper, entry):
        if tries:
            tries.pop()
            raise MemoryError
        real(keeper, entry)

    monkeypatch.setattr(type(ENGINE.run.keeper), "append", append)
    receipts = [log.error("failed") for _ in range(4)]
    told = [each.wait(20) for each in receipts]
    stats = closed()

    assert all(each.delivered for each in told)
    assert {} == stats.drops
    proven(sink.lines)


def test_encoder_without_memory(log, monkeypatch):
    """A record that cannot be encoded is logged as just that."""
    sink = Sink()
    configure(sink)

    class Greedy:
        def __repr__(self):
            raise MemoryError

    log.info("placed", a=Greedy(), b=1)
    log.info("%s", Greedy())
    closed()

    assert 2 == len(sink.records)
    assert 1 == sink.records[0]["b"]
