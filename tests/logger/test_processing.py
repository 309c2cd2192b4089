"""
Processors: between the call and the encoder, in order, and never in the way.
"""

from __future__ import annotations

import pytest

import hydra
from hydra.processors import DropEvent
from tests.contract.kit import Sink, configure, quiet

pytestmark = pytest.mark.integration


@pytest.fixture(name="log")
def _log() -> hydra.Logger:
    return hydra.get_logger("shop")


def test_order_of_processors(log):
    """Each gets what the one before it returned: message under `event`, merged fields beside it."""
    sink = Sink()
    seen = []

    def first(logger, method, event):
        seen.append((logger, method, dict(event)))
        return {**event, "first": 1}

    def second(logger, method, event):
        event["second"] = event["first"] + 1
        event["event"] = event["event"].upper()
        return event

    configure(sink, processors=[first, second])
    bound = log.bind(a=1)
    with hydra.context(b=2):
        bound.warning("placed", c=3)
    quiet()
    (record,) = sink.records

    assert [(bound, "warning", {"event": "placed", "a": 1, "b": 2, "c": 3})] == seen
    assert ("PLACED", 1, 2) == (record["message"], record["first"], record["second"])
    assert (1, 2, 3) == (record["a"], record["b"], record["c"])


@pytest.mark.parametrize("how", ["DropEvent", "None", "structlog"])
def test_dropping(log, how):
    """A processor drops by DropEvent, by None, or by structlog's own; no number is used."""
    structlog_drop = type("DropEvent", (BaseException,), {})

    def drop(logger, method, event):
        if event["event"] != "drop":
            return event
        if how == "None":
            return None
        raise DropEvent if how == "DropEvent" else structlog_drop

    sink = Sink()
    configure(sink, processors=[drop])

    assert log.info("drop") is hydra.SAMPLED
    assert log.error("drop") is hydra.SAMPLED
    assert log.info("placed") is hydra.QUEUED
    stats = quiet()
    assert (2, 1, 0) == (stats.suppressed, stats.accepted, stats.dropped)
    assert ["placed"] == sink.messages


@pytest.mark.parametrize("error", [ValueError, MemoryError, GeneratorExit, RecursionError])
def test_processor_that_raises(log, error):
    """What it raises is named in the record; the others still run, the caller sees nothing."""

    def broken(logger, method, event):
        raise error("bad")

    def works(logger, method, event):
        return {**event, "works": True}

    sink = Sink()
    configure(sink, processors=[broken, works])
    log.info("placed", a=1)
    quiet()
    (record,) = sink.records

    assert f"broken: {error.__name__}" == record["processor_error"]
    assert (1, True) == (record["a"], record["works"])


def test_interruption_in_a_processor(log):
    """KeyboardInterrupt and SystemExit are the application's: they go on, no number is used."""
    raised = [KeyboardInterrupt, SystemExit]

    def quit_soon(logger, method, event):
        if raised:
            raise raised.pop()
        return event

    sink = Sink()
    configure(sink, processors=[quit_soon])
    for error in (SystemExit, KeyboardInterrupt):
        with pytest.raises(error):
            log.info("placed")
    log.info("placed")

    assert 1 == quiet().accepted


@pytest.mark.parametrize("answer", ["text", b"bytes", 5, ("a", {"b": 1})])
def test_renderer_at_the_end(log, answer):
    """What is no dict is the message: a renderer out of a structlog chain may stay."""
    sink = Sink()
    configure(sink, processors=[lambda logger, method, event: answer])
    log.info("placed")
    quiet()

    assert 1 == len(sink.messages)
    if isinstance(answer, str):
        assert ["text"] == sink.messages


def test_processor_that_removes_the_message(log):
    """Without `event` in what comes out, the message of the call stays."""
    sink = Sink()
    configure(sink, processors=[lambda logger, method, event: {"a": 1}])
    log.info("placed")
    quiet()

    assert [("placed", 1)] == [(each["message"], each["a"]) for each in sink.records]


def test_redaction_comes_after_processors(log):
    """What a processor adds is redacted like everything else."""
    sink = Sink()
    configure(sink, processors=[lambda logger, method, event: {**event, "password": "secret"}])
    log.bind(token="secret").info("placed")
    quiet()

    assert not any(b'"secret"' in line for line in sink.lines)


def test_field_called_event(log):
    """A field of that name does not take the message's place."""
    sink = Sink()
    configure(sink, processors=[lambda logger, method, event: event])
    log.info("placed", event="e", event_="f")
    quiet()
    (record,) = sink.records

    assert ("placed", "e", "f") == (record["message"], record["event__"], record["event_"])


def test_dropped_errors_leave_no_trace_in_the_journal(log):
    """A sampled ERROR is not in the journal either."""

    def drop(logger, method, event):
        raise DropEvent

    configure(Sink(), processors=[drop])
    log.error("failed")

    assert 0 == quiet().journal.live
