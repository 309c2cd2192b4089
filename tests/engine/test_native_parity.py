"""
The compiled call path and the Python functions: what is logged makes the same bytes.

Each record is logged three times: the first call may learn its names, the second is the one
that C may take, and for the third the route is the Python function. The clock stands still,
so that only the numbers of the lines differ.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import hydra
from hydra.core.levels import CRITICAL, DEBUG, ERROR, INFO, TRACE, WARNING
from hydra.engine import ENGINE
from tests._compiled import needs_compiled, set_clock, watched
from tests.contract.kit import PATIENCE, Sink, closed, configure

pytestmark = [pytest.mark.integration, needs_compiled]

LEVELS = {
    "trace": TRACE, "debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR,
    "critical": CRITICAL,
}  # fmt: skip
NOW = 1_795_296_000_123_456_789


class Word(str):
    __slots__ = ()


class Number(int):
    __slots__ = ()


ODD = [
    "", "a", "\x00", "\x1f", "\n", "\x7f", "\x80", "\x9f", "\xa0", "é", "ÿ", "Ā", "߿",
    "ࠀ", "\u2027", "\u2028", "\u2029", "\u202a", "\ud7ff", "\ud800", "\udfff", "\ue000", "\uffff",
    "\U00010000", "\U0010ffff", '"', "\\", '\\"', "/", "a" * 8 + '"', "a" * 7 + "\x7f", "%s", "%",
    "</script>", "\ufeff",
]  # fmt: skip
TEXT = st.text(max_size=20) | st.lists(st.sampled_from(ODD), max_size=6).map("".join)
INTEGERS = st.integers(-(2**66), 2**66) | st.sampled_from(
    [
        edge + d
        for edge in (-(2**64), -(2**63), -(2**31), 0, 2**31, 2**63, 2**64)
        for d in (-1, 0, 1)
    ]
)
FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 1e16, 1e17, 1e-5, 5e-324, 1.7e308, 0.1, 1e22])
SCALAR = TEXT | INTEGERS | FLOATS | st.booleans() | st.none()
PLAIN_NAME = st.sampled_from(
    ["a", "b", "c", "d", "order_id", "k.e-y", "a b", "@x", "/p", "x:y", "n" * 64, "n" * 65]
)
ODD_NAME = st.sampled_from(
    [
        "id", "id_", "level", "level_", "message", "timestamp", "logger", "exception", "truncated",
        "password", "api_key", "token", "extra", "exc_info", "stacklevel", "", "é", "\x00", "\x7f",
        '"', "\\", "\ud800", "self", "args", "fields", "log",
    ]
)  # fmt: skip
NAME = st.one_of(*[PLAIN_NAME] * 6) | ODD_NAME | TEXT | PLAIN_NAME.map(Word)
NESTED = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(PLAIN_NAME | ODD_NAME, inner, max_size=3)
    ),
    max_leaves=8,
)
# Most values are plain: a record is left to Python as a whole.
VALUE = (
    st.one_of(*[SCALAR] * 8)
    | TEXT.map(Word)
    | st.integers().map(Number)
    | st.binary(max_size=5)
    | st.dictionaries(TEXT, SCALAR, max_size=3)
    | NESTED
    | NESTED
)
FIELDS = st.dictionaries(NAME, VALUE, max_size=6)
MESSAGE = st.one_of(*[TEXT] * 6) | TEXT.map(Word) | VALUE
ARGS = st.one_of(*[st.just(())] * 6) | st.tuples(SCALAR) | st.tuples(SCALAR, SCALAR)
CLOCK = st.just(NOW) | st.integers(0, 2**62) | st.sampled_from(
    [0, 1, 999, 1_000, 999_999, 1_000_000, 999_999_999, 10**9, NOW - 1_000_000, NOW + 999_999]
)  # fmt: skip


class Ways:
    """A logger whose records go to *sinks*, and may take either way."""

    def __init__(self, sinks: list[Sink], **options: object) -> None:
        self.sinks = sinks
        configure(*sinks, control_records=False, **options)
        self.now = NOW
        self.log = hydra.get_logger("shop")
        self.log.info("there is a run")
        set_clock(self.log, lambda: self.now)
        hydra.flush(PATIENCE)

    def lines(self, log, word, message, args=(), fields=None) -> list[list[bytes]]:
        """Log one record three times; return the lines that each sink got, without their ids."""
        routes = log._routes.by_level
        for sink in self.sinks:
            sink.lines.clear()
        method = getattr(log, word)
        for way in ("first", "second", "Python"):
            compiled = routes.get(LEVELS[word])
            if way == "Python":
                routes[LEVELS[word]] = getattr(compiled, "careful", compiled)
            method(message, *args, **(fields or {}))
            if way == "Python":
                routes[LEVELS[word]] = compiled
        hydra.flush(PATIENCE)
        return [[_without_id(line) for line in sink.lines] for sink in self.sinks]

    def same(self, *given: object, **more: object) -> bytes:
        """Log one record three times; return its line after proving that there is only one."""
        found = self.lines(*given, **more)
        (line,) = {line for lines in found for line in lines}

        assert [3] * len(self.sinks) == [len(lines) for lines in found]
        return line


def _without_id(line: bytes) -> bytes:
    body, mark, _ = line.rpartition(b',"id":"')
    assert mark
    return body


@pytest.fixture(name="ways", params=[1, 2, 17], ids="{} destinations".format)
def _ways(request):
    return Ways([Sink() for _ in range(request.param)])


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(sorted(LEVELS)), MESSAGE, ARGS, FIELDS, FIELDS | st.just({}),
    FIELDS | st.just({}), CLOCK, st.booleans(),
)  # fmt: skip
@example("info", "m", (), {"a": 2**63}, {}, {}, NOW, False)
@example("info", "m", (), {"a": 1}, {"a": 2}, {"a": 3}, NOW, False)
@example("info", "m", (), {"a": {"id": 1, "password": "x"}}, {}, {}, NOW, False)
@example("info", "m", (), {"a": ("password", "x")}, {}, {}, NOW, False)
@example("info", "m", (), {"a": [("token", "x"), ["token", "x"]]}, {}, {}, NOW, False)
@example("info", "m", (), {"a": 1}, {"a": 2}, {}, NOW, False)
@example("info", "m", (), {"a": 1}, {}, {"a": 3}, NOW, False)
@example("info", "m", (), {}, {"a": 2}, {"a": 3}, NOW, False)
@example("info", "m", (), {}, {"a": 2}, {"b": 3}, NOW, True)
def test_same_bytes(ways, word, message, args, fields, bound, around, now, tracked):
    """Whatever is logged, whatever surrounds it and whenever, both ways write the same line."""
    ways.now = now
    log = hydra.get_logger("shop", **bound)
    log = log.tracked() if tracked else log
    with hydra.context(**around) if around else ExitStack():
        ways.same(log, word, message, args, fields)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 300])
def test_many_fields(ways, count):
    """However many fields there are, the line is the same."""
    fields = {f"field{n}": n for n in range(count)}

    assert b"" != ways.same(ways.log, "info", "m", fields=fields)


@pytest.mark.parametrize("text", ["x", '"', "\x7f", "é", "\u2028", "\U0001f600"], ids=ascii)
@pytest.mark.parametrize(
    ("options", "around"),
    [
        ({}, 16_384),
        ({"queue": {"records": 128, "bytes": "64 KiB"}}, 512 - 64),
        ({"queue": {"records": 128, "bytes": "64 KiB"}}, 512),
    ],
    ids=["buffer", "place", "place with id"],
)
def test_lengths_around_a_limit(text, options, around):
    """At every length around the end of the buffer and of a queue's place the line is the same."""
    one = Ways([Sink()], **options)
    empty = len(one.same(one.log, "info", ""))
    more = len(one.same(one.log, "info", text)) - empty
    first = (around - empty) // more - 30 // more - 4
    for n in range(first, first + 60 // more + 8):
        one.same(one.log, "info", text * n)
        one.same(one.log, "info", "m", fields={"a": text * (n - 5)})
        one.same(one.log, "error", text * n)


@pytest.mark.parametrize("guaranteed", [False, True])
def test_every_character(guaranteed):
    """Each character of every plane, alone in a value, is written the same."""
    one = Ways([Sink()])
    word = "error" if guaranteed else "info"
    points = [*range(0x3000), *range(0xD700, 0xE100), *range(0xFE00, 0x10100), 0x1F600, 0x10FFFF]
    for start in range(0, len(points), 64):
        text = [chr(point) for point in points[start : start + 64]]
        one.same(one.log, word, "m", fields={f"k{n}": each for n, each in enumerate(text)})


@pytest.fixture(name="left")
def _left(monkeypatch):
    with watched(monkeypatch) as left:
        yield left


PLAIN = {
    "message": ("order placed", {}),
    "every scalar": ("m", {"a": "text", "b": 1, "c": -1.5, "d": True, "e": False, "f": None}),
    "not a number": ("m", {"a": float("nan"), "b": float("-inf")}),
    "largest integers": ("m", {"a": 2**63 - 1, "b": -(2**63)}),
    "escapes": ('"\\\n\x7f\x85\u2028', {"a": "\x00é€😀"}),
    "forty fields": ("m", {f"k{n}": n for n in range(40)}),
    "containers": ("m", {"a": {"id": 1, "b": [1, 2.5, "x", None]}, "c": {}, "d": [], "e": ()}),
    "seven in each other": ("m", {"a": [[[{"b": [[(1, 2, 3)]]}]]]}),
    "a long message": ("x" * 400, {}),
    "more than one place": ("x" * 3000, {}),
}


@pytest.mark.parametrize("sinks", [1, 2, 16])
@pytest.mark.parametrize("word", LEVELS)
def test_plain_record_is_compiled(left, word, sinks):
    """A plain record that was logged before is done in C, wholly, at every level."""
    ways = Ways([Sink() for _ in range(sinks)])
    log = ways.log.bind(shop=1)
    with hydra.context(request="r"):
        for _, fields in PLAIN.values():
            getattr(log, word)("names and surroundings are learned here", **fields)
        left.clear()
        for message, fields in PLAIN.values():
            getattr(log, word)(message, **fields)
    stats = closed()

    assert [] == left
    assert {} == stats.drops
    assert (1 + 2 * len(PLAIN)) * sinks == stats.delivered


@pytest.mark.parametrize(
    ("message", "args", "fields"),
    [
        (Word("m"), (), {}),
        (1, (), {}),
        ("%s", ("a",), {}),
        ("\ud800", (), {}),
        ("x" * 20_000, (), {}),
        ("m", (), {"a": "\ud800"}),
        ("m", (), {"a": 2**63}),
        ("m", (), {"a": Word("x")}),
        ("m", (), {"a": Number(1)}),
        ("m", (), {"a": {1}}),
        ("m", (), {"a": [{1}]}),
        ("m", (), {"a": {1: 2}}),
        ("m", (), {"a": {"password": 1}}),
        ("m", (), {"a": ("token", 1)}),
        ("m", (), {"a": [[[[[[[[[]]]]]]]]]}),
        ("m", (), {"exc_info": None}),
        ("m", (), {"password": "x"}),
        ("m", (), {"id": 1}),
        ("m", (), {"é": 1}),
        ("m", (), {"bound": 1}),
        ("m", (), {"around": 1}),
    ],
    ids=repr,
)
def test_anything_else_is_left_to_python(left, message, args, fields):
    """What is not plain is handed on once, however often it is logged, and costs no number."""
    ways = Ways([Sink()])
    log = ways.log.bind(bound=2)
    left.clear()
    with hydra.context(around=2):
        for _ in range(3):
            log.info(message, *args, **fields)
    stats = closed()

    assert [message] * 3 == left
    assert (4, 4) == (stats.accepted, stats.delivered)


def test_container_that_contains_itself(ways):
    """A cycle ends the compiled way, and is marked by the other."""
    cycle: list[object] = [1]
    cycle.append({"again": cycle})

    assert b'"a":[1,{"again":"<cycle>"}]' in ways.same(ways.log, "info", "m", fields={"a": cycle})


@pytest.mark.parametrize("size", [400, 512, 1024, 1500, 15_000])
def test_long_line_takes_its_places(left, size):
    """A line of several places' size takes as many as it does on the way of the Python route."""
    ways = Ways([Sink()], queue={"records": 1024, "bytes": "512 KiB"})
    hydra.flush()
    (service,) = ENGINE.run.services.values()
    queue, ticket = service.queue, service.chain.ticket
    # Whoever holds it keeps all others from taking what is queued.
    ticket.acquire()
    left.clear()
    ways.log.info("x" * size)
    (line, *padding) = queue.entries
    ticket.release()
    stats = closed()

    assert [] == left
    assert [None] * queue.padding(len(line)) == padding
    assert (len(line) - 1) // 512 == len(padding)
    assert stats.balanced


def test_more_fields_than_the_compiled_call_has_places_for(left):
    """A call from Python with more than 64 fields in a mapping goes to the Python function."""
    ways = Ways([Sink()], queue={"records": 1000, "bytes": "8 MiB"})
    ways.log._routes.by_level.clear()
    ways.log.info("again")
    route = ways.log._routes.by_level[INFO]
    for count in (64, 65):
        fields = {f"k{n}": n for n in range(count)}
        ways.log.log(20, "learned", **fields)
        left.clear()
        ways.log.log(20, f"{count} fields", **fields)

        assert left == ([] if count == 64 else ["65 fields"])
    assert type(route).__name__ == "Route"


def test_too_many_destinations_make_no_compiled_route():
    """Beyond sixteen destinations there is the Python function alone."""
    ways = Ways([Sink() for _ in range(17)])
    ways.log.info("m")

    assert "function" == type(ways.log._routes.by_level[INFO]).__name__
    assert 17 == len(ENGINE.run.services)
