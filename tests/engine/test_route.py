"""
The route of a plain record: the same line as the careful functions make, and nothing hidden.
"""

from __future__ import annotations

import signal
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hydra
from hydra.core.context import current
from hydra.core.levels import level_tag
from hydra.core.line import LONG, LineEncoder, logger_tag
from hydra.engine import ENGINE, _route
from tests.contract.kit import Sink, configure, quiet
from tests.sinks._kit import until

TEXT = st.text(max_size=12) | st.sampled_from(
    ["", "a", "\x7f", "\x85", "\u2028", '"\\', "é", "x" * LONG, "x" * (LONG + 1), "\ud800"]
)
SCALAR = (
    TEXT
    | st.booleans()
    | st.none()
    | st.floats()
    | st.integers(-(2**65), 2**65)
    | st.sampled_from([-(2**63) - 1, -(2**63), 2**64 - 1, 2**64])
)
VALUE = SCALAR | st.lists(SCALAR, max_size=2) | st.dictionaries(TEXT, SCALAR, max_size=2)
KEY = st.sampled_from(
    ["a", "b", "c", "id", "id_", "level", "message", "password", "k.e-y", "é", "", "truncated"]
)
FIELDS = st.dictionaries(KEY, VALUE, max_size=5)


@pytest.fixture(name="sink")
def _sink():
    sink = Sink()
    hydra.configure(destinations=[hydra.Destination(sink=sink)], control_records=False)
    return sink


@pytest.mark.unit
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(TEXT | st.integers() | st.none(), FIELDS, FIELDS, FIELDS, st.sampled_from(["info", "error"]))
def test_same_line_as_the_careful_way(sink, message, bound, around, fields, level):
    """Whatever is logged, the line has the bytes that the careful functions give it."""
    sink.lines.clear()
    log = hydra.get_logger("shop", **bound)
    encoder = LineEncoder(hydra.processors.Redactor())
    with hydra.context(**around):
        log.log(level, message, **fields)
        log.log(level, message, **fields)
        context = current(encoder)
    hydra.flush()
    first, second = (line.partition(b',"level"')[2] for line in sink.lines)
    careful = encoder._careful(
        0,
        level_tag(20 if level == "info" else 40),
        logger_tag("shop"),
        message,
        encoder.fragment(bound),
        context,
        fields,
        b"",
    ).partition(b',"level"')[2]

    assert careful == first.rpartition(b',"id":"')[0]
    assert careful == second.rpartition(b',"id":"')[0]


@pytest.mark.integration
def test_line_too_long_for_one_place(sink):
    """A line of many short fields that passes the limit of a record is cut, and says so."""
    sink.lines.clear()
    hydra.get_logger("shop").info("m", **{f"k{n}": "x" * 4_000 for n in range(20)})
    hydra.flush()
    (line,) = sink.lines

    assert 60_000 < len(line) <= 65_536
    assert b',"truncated":true' in line


class _Gone(Exception):
    """Out of a signal handler."""


@pytest.mark.integration
def test_exception_of_a_signal_handler_goes_on(sink, monkeypatch):
    """What a handler raises while a record is encoded reaches the application."""

    def handle(number, frame):
        raise _Gone

    before = signal.signal(signal.SIGUSR1, handle)
    monkeypatch.setattr(_route, "encode", lambda value: signal.raise_signal(signal.SIGUSR1))
    try:
        with pytest.raises(_Gone):
            hydra.get_logger("shop").info("m", a=1)
    finally:
        signal.signal(signal.SIGUSR1, before)


class _Key(str):
    __slots__ = ()

    def __hash__(self):
        if sys._getframe(1).f_globals["__name__"].startswith("hydra."):
            raise _Gone
        return str.__hash__(self)

    __eq__ = str.__eq__


class _Kind(type):
    def __hash__(cls):
        raise _Gone


class _Value(metaclass=_Kind):
    pass


@pytest.mark.integration
def test_exception_of_a_name_or_a_type_stays(sink):
    """What a name or the type of a value raises while a record is looked at costs no record."""
    sink.lines.clear()
    log = hydra.get_logger("shop")
    log.info("name", **{_Key("b"): 1})
    log.info("type", a=_Value())
    hydra.flush()

    assert 2 == len(sink.lines)


@pytest.mark.integration
def test_control_keywords_are_no_fields():
    """`exc_info`, `stack_info`, `stacklevel` and `extra` say how to log, at every level."""
    sink = Sink()
    configure(sink)
    log = hydra.get_logger("shop")
    for level in ("trace", "debug", "info", "warning", "error", "critical"):
        getattr(log, level)("m", exc_info=None, stack_info=False, stacklevel=2, extra={"b": 2}, a=1)
    quiet()

    assert [{"a": 1, "b": 2}] * len(sink.records) == [
        {key: record[key] for key in record if key not in {
            "timestamp", "level", "logger", "message", "id",
        }} for record in sink.records
    ]  # fmt: skip
    assert 6 == len(sink.records)


@pytest.mark.integration
def test_writer_that_sleeps_is_rung(sink, monkeypatch):
    """A plain record wakes a writer that sleeps, and leaves one alone that is at work."""
    log = hydra.get_logger("shop")
    log.info("makes the route")
    quiet()
    (service,) = ENGINE.run.services.values()
    queue = service.queue
    until(lambda: queue.idle, "the writer sleeps")
    rung = []
    with monkeypatch.context() as patch:
        patch.setattr(queue, "ring", lambda: rung.append(queue.depth))
        log.info("first")
        patch.setattr(queue, "idle", False)
        log.info("second")

    assert [1] == rung
