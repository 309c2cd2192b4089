from __future__ import annotations

import json as stdjson
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hydra.core import identify
from hydra.encoders import encoder, escape, json, plain, text
from hydra.testing import Nonconforming, canonical_lines, check_encoder, encoder_cases

pytestmark = pytest.mark.unit

CASES = {case.name: case for case in encoder_cases()}
GOLDEN = (Path(__file__).parents[1] / "golden" / "lines.v1.ndjson").read_bytes()
BLOCK = b"    | "


@pytest.mark.parametrize("case", encoder_cases(), ids=str)
@pytest.mark.parametrize(
    ("encode", "options"),
    [
        (json, {"people": False}),
        (plain, {}),
        (text, {"continuation": BLOCK}),
        (encoder("text", color=True), {"continuation": BLOCK, "colors": True}),
    ],
    ids=["json", "plain", "text", "text in colours"],
)
def test_our_encoders_keep_each_rule(encode: Any, options: dict[str, Any], case: Any) -> None:
    """
    Every rendering in the box keeps the rules, on the golden lines too.
    """
    check_encoder(encode, lines=GOLDEN.splitlines(keepends=True), cases=[case], **options)


def _of(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = stdjson.loads(line)
    return found


def _message(line: bytes) -> str:
    return str(_of(line)["message"])


def _encoded(shown: str) -> bytes:
    return shown.encode("utf-8", "surrogatepass")


def _raises(line: bytes) -> bytes:
    return f"{_of(line)['order_id']}\n".encode()


def _text(line: bytes) -> Any:
    return _message(line)


def _nothing_at_the_end(line: bytes) -> bytes:
    return plain(line).rstrip(b"\n")


def _blank_line(line: bytes) -> bytes:
    return plain(line) + b"\n"


def _raw_newlines(line: bytes) -> bytes:
    return _encoded(re.sub("[^\n -~]", "?", _message(line)).strip("\n") + "\n")


def _block_without_mark(line: bytes) -> bytes:
    return text(line).replace(BLOCK, b"    ")


def _controls(line: bytes) -> bytes:
    return _encoded(re.sub("[\n\r\x1b\u2028\u2029]", "?", _message(line)) + "\n")


def _line_separators(line: bytes) -> bytes:
    return _encoded(re.sub("[\x00-\x1f\x7f-\x9f]", "?", _message(line)) + "\n")


def _bidi(line: bytes) -> bytes:
    return _encoded(re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", "?", _message(line)) + "\n")


def _escapes(line: bytes) -> bytes:
    return _encoded("\x1b[1m" + _message(line).replace("\n", " ") + "\x1b[0m\n")


def _surrogates(line: bytes) -> bytes:
    return b"\xed\xa0\x80 " + plain(line)


_calls = count()


def _numbers_its_calls(line: bytes) -> bytes:
    return b"%d %b" % (next(_calls), plain(line))


def _says_nothing(line: bytes) -> bytes:
    return b"a record\n"


def _explodes(line: bytes) -> bytes:
    return escape(_message(line) * 50).encode() + b"\n"


BAD: list[tuple[Callable[[bytes], bytes], str, dict[str, Any]]] = [
    (_raises, "answer", {}),
    (_text, "answer", {}),
    (_nothing_at_the_end, "one newline", {}),
    (_blank_line, "one newline", {}),
    (_raw_newlines, "one line", {}),
    (text, "one line", {}),
    (_block_without_mark, "one line", {"continuation": BLOCK}),
    (_controls, "no controls", {}),
    (_line_separators, "no controls", {}),
    (_bidi, "no controls", {}),
    (json, "no controls", {}),
    (_escapes, "no escapes", {"colors": True}),
    (encoder("text", color=True), "no controls", {"continuation": BLOCK}),
    (_surrogates, "utf-8", {}),
    (_numbers_its_calls, "pure", {}),
    (_says_nothing, "pure", {}),
    (_explodes, "bounded", {}),
]


@pytest.mark.parametrize(
    ("encode", "name", "options"), BAD, ids=[f"{bad[0].__name__}-{bad[1]}" for bad in BAD]
)
def test_bad_encoder_is_told_which_rule_it_breaks(
    encode: Any, name: str, options: dict[str, Any]
) -> None:
    """
    An encoder that breaks a rule fails the check of that rule, with its sentence.
    """
    with pytest.raises(Nonconforming) as caught:
        check_encoder(encode, cases=[CASES[name]], **options)

    assert f"{encode.__name__} breaks 1 of 1 rules:\n  {name}: {CASES[name].rule}" in str(
        caught.value
    )


def test_corpus_is_made_of_canonical_lines() -> None:
    """
    Every line of the corpus is one record with an id of its own, and some have the largest size.
    """
    lines = canonical_lines()

    assert len(lines) == len({identify(line) for line in lines} - {None})
    assert all(
        1 == line.count(b"\n") and stdjson.loads(line)["message"] is not None for line in lines
    )
    assert 60_000 < max(map(len, lines)) <= 65_536


def test_hostile_text_is_in_every_place() -> None:
    """
    What a terminal would obey stands in messages, fields, names, loggers and exceptions.
    """
    records = [_of(line) for line in canonical_lines()]
    places = {
        place
        for record in records
        for place, found in {
            "message": record["message"],
            "field": record.get("text"),
            "nested": (record.get("nested") or [{}])[0].get("text"),
            "name": "".join(record),
            "logger": record["logger"],
            "exception": record.get("exception", {}).get("message"),
        }.items()
        if isinstance(found, str) and "\x1b[2J" in found
    }

    assert {"message", "field", "nested", "name", "logger", "exception"} == places
