"""
Any value through the public API: one readable line each, and the neighbours untouched.
"""

from __future__ import annotations

import collections
import enum
import json
import math
import threading
from decimal import Decimal

import pytest

import hydra

pytestmark = pytest.mark.e2e

LIMIT = 64 * 1024


class Hostile:
    """Raises whenever it is looked at."""

    def __init__(self, error=ValueError):
        self.error = error

    def __repr__(self):
        raise self.error("no")

    __str__ = __repr__

    def __getattr__(self, name):
        raise self.error(name)


class Liar(dict):
    """Claims to be a mapping and is none."""

    def items(self):
        raise RuntimeError("no")

    def keys(self):
        return 3

    def __len__(self):
        raise RuntimeError("no")

    def __iter__(self):
        raise RuntimeError("no")


class Metaclass(type):
    def __getattr__(cls, name):
        raise RuntimeError(name)

    def __instancecheck__(cls, other):
        raise RuntimeError("no")

    def __hash__(cls):
        raise RuntimeError("no")


class Odd(metaclass=Metaclass):
    pass


class Mumbler:
    def __repr__(self):
        return 7


class Level(enum.IntEnum):
    HIGH = 3


class LongText(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError("no")

    def encode(self, *_):
        raise RuntimeError("no")


def cycle():
    """Return a list that holds itself."""
    found: list[object] = [1]
    found.append({"self": found})
    return found


def deep(kind):
    """Return a million levels of *kind*."""
    found: object = None
    for _ in range(10**6):
        found = [found] if kind is list else {"a": found}
    return found


def failing():
    """Yield once, then fail."""
    yield 1
    raise RuntimeError("no")


VALUES = {
    "lone surrogate": lambda: "a\ud800b",
    "surrogate pair in two": lambda: "\ud83d\ude00",
    "nul and controls": lambda: "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029",
    "line ends": lambda: 'a\r\nb\n{"id":"x.1r-1"}\n',
    "cycle": cycle,
    "deep list": lambda: deep(list),
    "deep dict": lambda: deep(dict),
    "nan": lambda: math.nan,
    "infinity in a list": lambda: [math.inf, -math.inf, {"x": math.nan}],
    "bytes": lambda: b'\xff\x00\n"\\',
    "bytearray view": lambda: memoryview(bytearray(b"\xfe" * 9))[::2],
    "long text": lambda: "x" * 100_000_000,
    "long wide text": lambda: "\u20ac\ud800" * 5_000_000,
    "long bytes": lambda: b"\xff" * 20_000_000,
    "long list": lambda: list(range(2_000_000)),
    "long dict": lambda: {str(n): n for n in range(300_000)},
    "long key": lambda: {"k" * 10_000_000: 1},
    "huge integer": lambda: 10**6000,
    "decimals": lambda: [Decimal("NaN"), Decimal("1E+1000000"), 2**64, -(2**63), 1j],
    "repr raises": Hostile,
    "repr raises what is no Exception": lambda: Hostile(BaseException),
    "repr raises an exit of a coroutine": lambda: Hostile(GeneratorExit),
    "repr is out of memory": lambda: [1, Hostile(MemoryError), 2],
    "repr recurses": lambda: Hostile(RecursionError),
    "repr is no text": Mumbler,
    "lying dict": lambda: Liar(a=1),
    "lying text": lambda: LongText("x" * 10),
    "odd class": lambda: Odd,
    "object of an odd class": Odd,
    "keys of all kinds": lambda: {1: 1, None: 2, (1, 2): 3, b"x": 4, "1": 5, math.nan: 6},
    "colliding keys": lambda: {"a": 1, Level.HIGH: 2, 3: 3, "3": 4},
    "surrogate key": lambda: {"\ud800": 1, "a\nb": 2, "\x00": 3},
    "generator that fails": failing,
    "set of all kinds": lambda: {1, "a", None, (1,), frozenset({2})},
    "exception": lambda: ValueError("a\ud800\n", Hostile()),
    "lock": threading.Lock,
    "counter": lambda: collections.Counter("hello"),
    "lazy that fails": lambda: hydra.lazy(lambda: 1 / 0),
    "lazy in lazy": lambda: hydra.lazy(lambda: hydra.lazy(lambda: [1])),
}


def strict(line):
    """Parse one line as JSON the way the strictest reader does."""

    def unique(pairs):
        assert len(pairs) == len(dict(pairs)), "a key twice"
        return dict(pairs)

    def refuse(name):
        raise AssertionError(name)

    return json.loads(line.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)


def sent(path, send):
    """Log with *send* between two neighbours; return the lines of the file, checked, parsed."""
    hydra.configure(level="trace", destinations=[{"name": "app", "path": str(path)}])
    log = hydra.get_logger("shop")
    log.info("before", n=1)
    send(log)
    log.info("after", n=2)
    stats = hydra.close()
    data = path.read_bytes()
    lines = data.split(b"\n")

    assert stats.balanced
    assert 0 == stats.dropped
    assert b"" == lines.pop()
    assert LIMIT >= max(map(len, lines)) + 1
    assert not set(data) & (set(range(32)) - {10})
    found = [record for record in map(strict, lines) if record["logger"] != "hydra.ledger"]
    assert ("before", "after") == (found[0]["message"], found[-1]["message"])
    return found[1:-1]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value(value, tmp_path):
    """As a field, deep inside one, bound, in the context, as message and as argument."""
    made = value()

    def send(log):
        log.info("field", value=made, next="kept")
        log.error("nested", value={"a": [made, 1]}, next="kept")
        log.bind(value=made).info("bound", next="kept")
        with hydra.context(value=made):
            log.info("context", next="kept")
        log.info("extra", extra={"value": made, "next": "kept"})
        log.info(made, next="kept")
        log.info("%s and %r", made, "x", next="kept")

    found = sent(tmp_path / "app.log", send)

    assert ["field", "nested", "bound", "context", "extra"] == [r["message"] for r in found[:5]]
    assert 7 == len(found)
    assert ["kept"] * 7 == [record.get("next", "kept") for record in found]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted_while_a_value_is_shown(error, tmp_path):
    """What a signal handler raises goes to the caller, and the call leaves no gap behind."""

    def interrupted(log):
        raised = False
        try:
            log.error("never", value=Hostile(error))
        except error:
            raised = True
        log.info("raised", raised=raised)

    (found,) = sent(tmp_path / "app.log", interrupted)

    assert ("raised", True) == (found["message"], found["raised"])


def test_names_that_are_taken(tmp_path):
    """A field cannot replace what the line says about itself."""
    taken = ("timestamp", "level", "logger", "message", "exception", "id")
    given = dict.fromkeys(taken, "mine")

    (found,) = sent(tmp_path / "app.log", lambda log: log.info("names", **given))

    assert ("names", "info", "shop") == (found["message"], found["level"], found["logger"])
    assert [*map("{}_".format, taken)] == [key for key, value in found.items() if value == "mine"]


def test_exceptions_of_all_kinds(tmp_path):
    """An exception that cannot be shown, is in a cycle, or comes in a group makes a line."""

    class Unspeakable(Exception):
        __str__ = __repr__ = Hostile.__repr__
        error = RuntimeError

    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    errors = [Unspeakable(), first, ExceptionGroup("many", [first, Unspeakable()]),
              ValueError("x" * 10_000_000), SystemExit("\ud800")]  # fmt: skip

    def send(log):
        for error in errors:
            log.error("failed", exc_info=error)

    found = sent(tmp_path / "app.log", send)

    assert [type(error).__name__ for error in errors] == [
        record["exception"]["type"].rpartition(".")[2] for record in found
    ]


def test_arguments_that_do_not_fit(tmp_path):
    """A message whose arguments are wrong is logged all the same, with its template."""
    calls = (
        ("%d of %s", "x"),
        ("%s",),
        ("100%",),
        ("%(name)s", {"other": 1}),
        ("no place", 1, 2),
    )
    found = sent(tmp_path / "app.log", lambda log: [log.info(*call) for call in calls])

    assert [call[0] for call in calls] == [
        record["message"][: len(call[0])] for record, call in zip(found, calls, strict=True)
    ]
