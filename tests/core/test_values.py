from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import enum
import pathlib
import types
import uuid
from decimal import Decimal
from typing import NamedTuple

import msgspec
import pytest

from hydra.core import values
from hydra.core.values import lazy, plain
from hydra.processors import Redactor

pytestmark = pytest.mark.unit


class Color(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class EvilStr(str):
    __slots__ = ()

    def __str__(self):
        raise ZeroDivisionError

    __repr__ = __len__ = __getitem__ = __str__


class EvilInt(int):
    def __int__(self):
        raise ZeroDivisionError

    __repr__ = __str__ = __index__ = __int__


class EvilDict(dict):
    def items(self):
        raise ZeroDivisionError

    __iter__ = keys = items


class Cancelled(BaseException):
    pass


class Raises:
    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


class NoName(type):
    def __getattribute__(cls, name):
        if name == "__name__":
            raise ZeroDivisionError
        return super().__getattribute__(name)


class Nameless(metaclass=NoName):
    def __repr__(self):
        raise ZeroDivisionError


@dataclasses.dataclass
class Point:
    x: int
    password: str = "hunter2"
    unset: int = dataclasses.field(init=False)


class Struct(msgspec.Struct):
    x: int


class Attrs:
    __attrs_attrs__ = (types.SimpleNamespace(name="x"),)
    x = 5


class Pair(NamedTuple):
    a: int
    b: int


UTC = dt.UTC


def made(value):
    """Return *value*; what pytest itself could not show is made only now."""
    return value() if isinstance(value, types.FunctionType) else value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        (10**100_000, "<integer of 332193 bits>"),
        (1.5, 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        ("a\ud800b", "a\ufffdb"),
        (b"caf\xc3\xa9\xff", "café\\xff"),
        (bytearray(b"x"), "x"),
        (memoryview(b"abcd")[::2], "ac"),
        (b"", ""),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001 - naive on purpose
        (dt.datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006Z"),
        (
            dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "2026-01-02T00:00:00+02:00",
        ),
        (
            dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(seconds=30))),
            "2026-01-01T23:59:30Z",
        ),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(minutes=1), 60.0),
        (Color.RED, "red"),
        (Number.ONE, 1),
        (lambda: EvilStr("x"), "x"),
        (lambda: EvilInt(7), 7),
        (lambda: EvilDict(a=1), {"a": 1}),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (ValueError("bad"), "ValueError: bad"),
        ([1, (2, 3), {"x"}, frozenset([3])], [1, [2, 3], ["x"], [3]]),
        ({"b", "c", "a"}, ["a", "b", "c"]),
        ({None}, [None]),
        (collections.deque([1]), [1]),
        (array.array("i", [1, 2]), [1, 2]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        (range(3), "range(0, 3)"),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Pair(1, 2), {"a": 1, "b": 2}),
        (Point(1), {"x": 1, "password": "***"}),
        (Struct(1), {"x": 1}),
        (Attrs(), {"x": 5}),
        (int, "<class 'int'>"),
        (lazy(lambda: [1]), [1]),
        (lazy(lambda: 1 / 0), "<unprintable Lazy: ZeroDivisionError>"),
        (
            {1: 1, "1": 2, None: 3, False: 4, b"k": 5},
            {"1": 1, "1_": 2, "null": 3, "false": 4, "k": 5},
        ),
        ({(1, 2): 1}, {"[1, 2]": 1}),
        ({"k" * 300: 1}, {"k" * 256 + "...": 1}),
        (
            lambda: Nameless(),  # noqa: PLW0108 - a class is a value of its own here
            "<unprintable object: ZeroDivisionError>",
        ),
    ],
    ids=lambda value: type.__repr__(type(value))[:30],
)
def test_value_becomes_plain(value, expected):
    """
    Every kind of value has its plain form.
    """
    found = plain(made(value), redactor=Redactor())

    assert expected == found
    assert type(expected) is type(found)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), RecursionError(), MemoryError(), Cancelled()]
)
def test_value_that_raises_is_named(error):
    """
    What a value raises is shown in its place, whatever it derives from.
    """
    name = type(error).__name__

    assert [1, f"<unprintable Raises: {name}>"] == plain([1, Raises(error)])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_signals_pass(error):
    """
    KeyboardInterrupt and SystemExit come from signal handlers and pass.
    """
    with pytest.raises(error):
        plain([Raises(error())])
    with pytest.raises(error):
        values.Walker(values.ShowAll(), 1, 100).text(Raises(error()))


def test_iterators_are_not_consumed():
    """
    A generator is shown by its repr and is untouched afterwards.
    """
    numbers = (n for n in [1, 2])

    assert str(plain(numbers)).startswith("<generator object")
    assert [1, 2] == list(numbers)


def test_cycles_end():
    """
    A container inside of itself is marked; the same one twice side by side is not.
    """
    loop = [1]
    loop.append({"again": loop})
    twice = {"x": 1}

    assert [1, {"again": "<cycle>"}] == plain(loop)
    assert [twice, twice] == plain([twice, twice])
    mapping = collections.UserDict()
    mapping["me"] = mapping
    assert {"me": "<cycle>"} == plain(mapping)
    point = Point(1)
    point.x = point
    assert {"x": "<cycle>", "password": "hunter2"} == plain(point)


def test_depth_ends():
    """
    A million nested lists end at the depth with a mark, also through lazy values.
    """
    deep = []
    for _ in range(10**6):
        deep = [deep]
    endless = lazy(lambda: endless)

    assert [[["..."]]] == plain(deep, depth=3)
    assert "..." == plain(endless)
    assert {"a": ["...", "...", "..."]} == plain({"a": [{1}, {}, Color.RED]}, depth=2)
    while deep:
        deep = deep[0]


@pytest.mark.parametrize(
    "value",
    [
        "a" * 10**8,
        b"a" * 10**8,
        list(range(10**6)),
        dict.fromkeys(range(10**6)),
        set(range(10**6)),
        Raises(ValueError("x" * 10**7)),
        ValueError("x" * 10**7),
        [["a" * 100] * 100] * 100,
    ],
    ids=["str", "bytes", "list", "dict", "set", "raises", "error", "nested"],
)
def test_large_value_is_cut(value):
    """
    What is larger than the room is cut near it.
    """
    found = plain(value, room=1000)

    assert len(msgspec.json.encode(found)) < 4000


def test_long_repr_is_cut():
    """
    The repr of an unknown object is cut, and the record is marked.
    """
    walker = values.Walker(values.ShowAll(), 3, 10**6)
    found = walker.value(types.SimpleNamespace(x="a" * 10**5))

    assert 4096 + 3 == len(found)
    assert walker.cut


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"password": "hunter2"}},
        {b"password": "hunter2"},
        [("Authorization", "hunter2")],
        [(b"cookie", b"hunter2")],
        {"x": types.MappingProxyType({"api_key": "hunter2"})},
        lazy(lambda: {"secret": "hunter2"}),
        lambda: EvilDict(token="hunter2"),
    ],
)
def test_secret_is_masked_at_any_depth(value):
    """
    What stands under a secret key, or after one in a pair, is masked.
    """
    found = str(plain([made(value)], redactor=Redactor()))

    assert "hunter2" not in found
    assert "***" in found


def test_secret_is_masked_unseen():
    """
    The value under a secret key is not touched at all.
    """
    assert {"token": "***"} == plain({"token": Raises(KeyboardInterrupt())}, redactor=Redactor())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (b"caf\xc3\xa9", "café"),
        (lambda: EvilStr("x"), "x"),
        (lazy(lambda: "x"), "x"),
        (5, "5"),
        (Raises(Cancelled()), "<unprintable Raises: Cancelled>"),
        ("a" * 200, "a" * 100 + "..."),
    ],
)
def test_text_of_a_message(value, expected):
    """
    A message is the text of its object, contained and cut.
    """
    assert expected == values.Walker(values.ShowAll(), 1, 100).text(made(value))
