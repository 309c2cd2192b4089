"""
A scope: what a change of configuration reaches, and what one that fails leaves as it was.
"""

from __future__ import annotations

import json
import threading

import pytest

import hydra
from hydra.config import load
from hydra.engine import ENGINE, _closing
from tests.contract.kit import PATIENCE, Sink, balanced, configure, destination
from tests.sinks._kit import until

pytestmark = pytest.mark.integration


@pytest.fixture(name="sink")
def _sink():
    return Sink()


def settings(sink, **options):
    """Return settings with one destination, and no journal."""
    return load({"destinations": [destination(sink)], "journal": {"enabled": False}} | options)


def test_logger_of_a_front_follows_its_scope(sink):
    """What a logger has learnt of one configuration is forgotten with it, by leased ones too."""
    front = hydra.HydraLogger(settings(sink, level="info"))
    log = front.get_logger("API")
    before = log.debug("not wanted")
    front._lease.scope.open(settings(sink, level="debug"))
    after = log.debug("wanted")
    balanced(front.close())

    assert (hydra.FILTERED, hydra.QUEUED) == (before, after)
    assert ["wanted"] == sink.messages


def test_configuration_that_fails_is_not_kept(sink, monkeypatch):
    """Where a new run cannot be made, the next one is made of the settings in force."""
    front = hydra.HydraLogger(settings(sink))
    with monkeypatch.context() as patch:
        patch.setattr("hydra.config._state.prepare", lambda *_: "no")
        with pytest.raises(hydra.ConfigurationError, match="no usable state directory"):
            front._lease.scope.open(settings(sink, strict=True, journal={"enabled": True}))
        front.close()
        front.initialize()
    front.info("placed")
    balanced(front.close())

    assert ["placed"] == sink.messages


def test_new_writer_waits_for_the_former_one(monkeypatch):
    """Records of one thread keep their order although the former writer is still in a call."""
    calls, taken, asked, gate = [], [], threading.Event(), threading.Event()

    def take(lines):
        calls.append(len(lines))
        if len(calls) == 1:
            gate.wait(PATIENCE)
        taken.extend(lines)

    # One that stays in a call is not waited for; this one stays until the other has asked.
    monkeypatch.setattr(_closing, "_STUCK", PATIENCE)
    configure(take, control_records=False)
    hydra.info("first")
    until(lambda: calls, "the former writer is in its call")
    former = ENGINE.run.services["app"]
    real = former.wait_closed

    def wait_closed(seconds):
        asked.set()
        return real(seconds)

    monkeypatch.setattr(former, "wait_closed", wait_closed)
    configure(take, control_records=False)
    hydra.info("second")
    until(lambda: asked.is_set() or len(taken), "the new writer waits, or does not")
    gate.set()
    balanced(hydra.close(PATIENCE))

    assert ["first", "second"] == [json.loads(line)["message"] for line in taken]
