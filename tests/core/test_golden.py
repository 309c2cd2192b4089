"""
Golden lines: bytes that must never change, since files of today are read for ever.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import pathlib
import string
import uuid
from decimal import Decimal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.core import RESERVED
from hydra.core import line as line_module
from hydra.core.errors import exception_tag
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, LineEncoder, logger_tag
from hydra.encoders import encoder as rendering
from hydra.processors import Redactor

pytestmark = pytest.mark.unit

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "lines.v1.ndjson"
SCHEMA = pathlib.Path(line_module.__file__).parent / "schema" / "line.v1.json"
NS = 1_795_225_440_123_456_789
RUN = b"k3f9x2ab71qz"
SECRET = "hunter2hunter2"


class Color(enum.Enum):
    RED = "red"


def fixed_exception():
    """Return an exception part that names no file of this machine."""
    error = ValueError("bad\nnews")
    error.__cause__ = KeyError("k")
    error.add_note("a note")
    return exception_tag((ValueError, error, None))


def golden_lines():
    """Return the lines, made by the code of today."""
    encoder = LineEncoder(Redactor())
    tag = fixed_exception()
    cases = [
        (20, "shop", "order placed", {}, {}, {"order_id": 42, "total": 9.5, "paid": True}, b""),
        (5, "", "", {}, {}, {}, b""),
        (10, "a.b", "merged", {"a": 1, "b": 1}, {"b": 2, "c": 2}, {"a": 3, "d": None}, b""),
        (30, "shop", "joined", {"service": "api"}, {"user_id": 7}, {"x": "y"}, b""),
        (40, "shop", "failed", {"service": "api"}, {}, {"n": 1}, tag),
        (50, "über", "snowman \u2603 \U0001f600", {}, {}, {"naïve": "é"}, b""),
        (25, "shop", 'controls \x00\x1b\x7f\x85\u2028\n\t"\\/', {}, {}, {"k\n": "\ud800"}, b""),
        (20, "shop", "reserved", {}, {}, {"id": 1, "id_": 2, "level": 3, "truncated": 4}, b""),
        (20, "shop", "secret", {"token": "s"}, {}, {"a": {"apiKey": "s", "tokens": 5}}, b""),
        (
            20,
            "shop",
            "values",
            {},
            {},
            {
                "time": dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC),
                "naive": dt.datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - naive on purpose
                "date": dt.date(2026, 1, 2),
                "span": dt.timedelta(seconds=90),
                "decimal": Decimal("1.10"),
                "uuid": uuid.UUID(int=7),
                "big": 2**64,
                "small": -(2**63),
                "nan": float("nan"),
                "bytes": b"\xffx",
                "enum": Color.RED,
                "set": {"b", "a"},
                "tuple": (1, [2]),
                "keys": {1: 1, None: 2, b"b": 3},
                "error": ValueError("bad"),
            },
            b"",
        ),
    ]
    lines = []
    for n, (level, name, message, bound, context, fields, exception) in enumerate(cases, 1):
        body = encoder.body(
            NS,
            level_tag(level),
            logger_tag(name),
            message,
            encoder.fragment(bound),
            encoder.fragment(context),
            fields,
            exception,
        )
        lines.append(body + b',"id":"%b.1%b-%d"}\n' % (RUN, b"g" if level >= 40 else b"r", n))
    small = LineEncoder(max_bytes=2048)
    cut = small.body(
        -1, level_tag(20), logger_tag("shop"), "cut", EMPTY, EMPTY, {"a": "x" * 9999, "b": 1}
    )
    lines.append(cut + b',"id":"%b.1r-99"}\n' % RUN)
    return lines


@pytest.fixture(name="validator", scope="module")
def _validator():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_golden_lines():
    """
    The same records give the same bytes as ever.
    """
    assert GOLDEN.read_bytes().splitlines(keepends=True) == golden_lines()


def test_golden_lines_follow_the_schema(validator):
    """
    The published schema describes the golden lines.
    """
    for line in GOLDEN.read_bytes().splitlines():
        validator.validate(json.loads(line))


def test_schema_refuses(validator):
    """
    The schema refuses records with a wrong head, exception or id.
    """
    good = json.loads(GOLDEN.read_bytes().splitlines()[0])
    wrong = [
        {"timestamp": "2026-01-02T03:04:05Z"},
        {"level": "INFO"},
        {"message": 5},
        {"truncated": 1},
        {"exception": {"type": "T"}},
        {"id": "x"},
    ]

    assert validator.is_valid(good)
    assert [False] * 6 == [validator.is_valid({**good, **change}) for change in wrong]


keys = st.one_of(
    st.sampled_from([*sorted(RESERVED), "id_", "a", "b", "password", "user id", "é", ""]),
    st.text(max_size=8),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(), max_size=30),
    st.text(st.characters(categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8),
    st.binary(max_size=8),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.decimals(),
    st.uuids(),
    st.just("x" * 5000),
    st.just("\x00" * 20_000),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys | st.integers() | st.binary(max_size=4), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)
mappings = st.dictionaries(keys, anything, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    ns=st.integers(-(2**80), 2**80),
    level=st.integers(0, 60),
    name=st.text(max_size=20),
    message=anything,
    bound=mappings,
    context=mappings,
    fields=mappings,
    size=st.sampled_from([2048, 65_536]),
    failed=st.booleans(),
)
def test_any_record(validator, ns, level, name, message, bound, context, fields, size, failed):
    """
    Any record is one valid line in the limit, in order, and every rendering keeps it clean.
    """
    encoder = LineEncoder(Redactor(), max_bytes=size)
    body = encoder.body(
        ns,
        level_tag(level),
        logger_tag(name),
        message,
        encoder.fragment(bound),
        encoder.fragment(context),
        fields,
        fixed_exception() if failed else b"",
    )
    line = body + b',"id":"k3f9x2ab71qz.1r-17"}\n'
    text = line.decode("utf-8")
    pairs = json.loads(line, object_pairs_hook=list)
    names = [key for key, _ in pairs]
    record = dict(pairs)

    assert len(line) <= size
    assert line.endswith(b"\n")
    assert 1 == len(text.splitlines())
    assert len(set(names)) == len(names)
    assert ["timestamp", "level", "logger", "message"] == names[:4]
    assert "id" == names[-1]
    tail = [key for key in names[4:] if key in RESERVED]
    assert ["truncated"] * ("truncated" in record) + ["exception"] * failed + ["id"] == tail
    assert names[-len(tail) :] == tail
    validator.validate(json.loads(line))
    if "truncated" not in record:
        merged = {**bound, **context, **fields}
        plain_keys = [k for k in merged if k.isascii() and k.isalpha() and k not in RESERVED]
        assert plain_keys == [key for key in names[4:] if key in plain_keys]
    for form in ("plain", "text"):
        shown = rendering(form)(line)
        assert not set(range(0x20)) - {10} & set(shown)
        assert not set(shown.decode()) & set(map(chr, [0x7F, *range(0x80, 0xA0), 0x2028, 0x202E]))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_secrets_never_show(data):
    """
    Whatever surrounds it, a value under a secret key is not in the line.
    """
    key = data.draw(
        st.sampled_from(["password", "X-Api-Key", "accessToken", "é secret", b"cookie"])
    )
    value: object = {key: data.draw(st.sampled_from([SECRET, [SECRET], {"a": SECRET}]))}
    for _ in range(data.draw(st.integers(0, 5))):
        wrap = data.draw(st.sampled_from("ldtk"))
        value = {"l": [value, 1], "d": {"x": value}, "t": (value,), "k": {7: value}}[wrap]
    name = data.draw(st.text(string.ascii_letters, min_size=1, max_size=5))
    fields = {name: value} if isinstance(key, bytes) or data.draw(st.booleans()) else {key: SECRET}
    encoder = LineEncoder(Redactor())
    bound = encoder.fragment(fields)
    tags = (level_tag(20), logger_tag("x"), "m")
    found = [
        encoder.body(0, *tags, EMPTY, EMPTY, fields),
        encoder.body(0, *tags, bound, EMPTY, {}),
        encoder.body(0, *tags, bound, bound, {"z1": []}),
    ]

    assert not [line for line in found if SECRET.encode() in line]
    assert all(b"***" in line for line in found)
