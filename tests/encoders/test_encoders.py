from __future__ import annotations

import json
import re

import pytest

from hydra.encoders import FORMATS, encoder, escape

pytestmark = pytest.mark.unit

CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F]
CONTROLS += [*range(0x2028, 0x202F), *range(0x2066, 0x206A)]
TEXT = "".join(map(chr, CONTROLS))


def line(message="order placed", level="info", **fields):
    """Return a canonical line of the logger shop."""
    exception = fields.pop("exception", None)
    record = {"timestamp": "2026-11-21T01:44:00.123456Z", "level": level, "logger": "shop"}
    record |= {"message": message, **fields}
    if exception is not None:
        record["exception"] = exception
    record["id"] = "k3f9x2ab71qz.1r-17"
    return json.dumps(record).encode() + b"\n"


FAILED = {
    "type": "ValueError",
    "message": "bad\x1b[2J",
    "stacktrace": "Traceback:\n  File\x1b[2J\r\nValueError: bad",
    "causes": [],
}


def test_json_is_the_line():
    """
    The format json is the canonical line itself.
    """
    assert line(a=1) == encoder("json")(line(a=1))
    assert line(a=1) == encoder("json", color=True)(line(a=1))


def test_plain():
    """
    A record is one line: time, level, logger, message and fields, without the id.
    """
    found = encoder("plain")(line(order_id=42, name="a b", empty="", eq="a=b", d={"x": [1]}))

    assert (
        b"2026-11-21 01:44:00.123 INFO  shop: order placed order_id=42 "
        b'name="a b" empty="" eq="a=b" d={"x":[1]}\n'
    ) == found


def test_plain_with_exception():
    """
    The stack trace stands at the end, on the same line.
    """
    found = encoder("plain")(line(level="error", exception=FAILED))

    assert found.startswith(b"2026-11-21 01:44:00.123 ERROR shop: order placed exception=")
    assert rb'stacktrace="Traceback:\n  File\u001b[2J\r\nValueError: bad"' in found
    assert 1 == found.count(b"\n")


def test_text_with_exception():
    """
    The stack trace stands below the record, each line of it marked and escaped.
    """
    found = encoder("text")(line(level="error", exception=FAILED))

    assert (
        b"2026-11-21 01:44:00.123 ERROR shop: order placed\n"
        b"    | Traceback:\n"
        rb"    |   File\x1b[2J\r" + b"\n"
        b"    | ValueError: bad\n"
    ) == found


@pytest.mark.parametrize(
    ("exception", "rows"),
    [
        ({"type": "T", "message": "m"}, [b"    | T: m"]),
        ({"type": "T", "message": "m", "causes": [{"type": "C", "message": "c"}, 5]}, None),
        ("odd\n", [b"    | odd\\n"]),
        (["odd"], [b"    | ['odd']"]),
    ],
)
def test_text_with_odd_exception(exception, rows):
    """
    An exception of another shape is shown as far as it goes.
    """
    rows = rows or [b"    | T: m", b"    | caused by C: c", b"    | caused by 5"]
    found = encoder("text")(line(exception=exception))

    assert rows == found.splitlines()[1:]
    assert 1 == encoder("plain")(line(exception=exception)).count(b"\n")


@pytest.mark.parametrize("level", ["info", "critical", "level25"])
def test_colors_are_the_only_difference(level):
    """
    Without the colours, coloured text is the text.
    """
    given = line(level=level, a=1, exception=FAILED)
    found = encoder("text", color=True)(given)

    assert encoder("text")(given) == re.sub(rb"\x1b\[[0-9;]*m", b"", found)
    assert b"\x1b[" in found
    assert encoder("plain", color=True)(given) == encoder("plain")(given)


@pytest.mark.parametrize("form", ["plain", "text", "color"])
@pytest.mark.parametrize("place", ["message", "key", "value", "nested", "logger", "stack", "none"])
def test_no_control_gets_out(form, place):
    """
    Wherever controls stand, none reaches the output, and one record stays one line.
    """
    given = {
        "message": line(TEXT),
        "key": line(**{TEXT: 1}),
        "value": line(a=TEXT),
        "nested": line(a=[{TEXT: TEXT}]),
        "logger": line().replace(b'"shop"', json.dumps(TEXT).encode()),
        "stack": line(exception={"type": TEXT, "message": TEXT, "stacktrace": ""}),
        "none": (TEXT + "x\x1b]52;c;aGk=\x07").encode() + b"\xff\x9b",
    }[place]
    found = encoder("text" if form == "color" else form, color=form == "color")(given)
    bare = re.sub(rb"\x1b\[[0-9;]*m", b"", found) if form == "color" else found

    assert bare.endswith(b"\n")
    assert (2 if place == "stack" and form != "plain" else 1) == len(bare.decode().splitlines())
    assert not set(bare.decode().replace("\n", "")) & set(TEXT)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"\n",
        b"text\n",
        b"[1]\n",
        b"{}\n",
        b'{"timestamp":1}',
        b"\xff\xfe\n",
        b"[" * 10**5,
        b'{"timestamp":"t","level":"l","logger":"x","message":5}',
        b'{"a":"\\ud800"}',
        b'"\xff"',
    ],
)
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_line_that_is_none(given, form):
    """
    What is no canonical line is passed on, escaped on one line.
    """
    found = encoder(form)(given)

    if form == "json":
        assert given == found
    else:
        shown = given.removesuffix(b"\n").decode("utf-8", "backslashreplace").encode()
        assert shown + b"\n" == found


def test_odd_timestamp():
    """
    A timestamp of another shape is shown as it is.
    """
    found = encoder("plain")(line().replace(b"2026-11-21T", b"yesterday "))

    assert found.startswith(b"yesterday 01:44:00.123456Z INFO  shop:")


def test_unknown_format():
    """
    An unknown format is refused, and the choices are named.
    """
    with pytest.raises(ValueError, match="'xml'; choose one of json, plain, text"):
        encoder("xml")


def test_escapes():
    """
    Newlines and tabs have short escapes, all else its number.
    """
    assert r"a\n\r\t\x1b\x85\u2028\u202e\ud800é" == escape("a\n\r\t\x1b\x85\u2028\u202e\ud800é")
