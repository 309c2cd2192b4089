"""
What one line says: a record with its number, a declaration of the ledger, or damage.

Rule 1: pure; bytes in, facts out. Nothing here raises on hostile input.
Rule 2: a line counts as a record only when all of it is valid JSON. Looking at
both ends is faster and takes two torn lines grown together for one whole.
Rule 3: text from a file is used only when it matches the pattern that the
format lays down, so nothing a log holds can reach a terminal unescaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

MAX_NUMBER_DIGITS: Final = 18
"""More digits than any stream reaches, and few enough to be a machine integer."""

START: Final = b'{"timestamp":"'
_KEY = re.compile(r"[a-z0-9]{8,64}\.[0-9]{1,18}[rgc]")
_STREAM = re.compile(r"[0-9]{1,18}[rgc]")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REASON = re.compile(r"[A-Za-z0-9_.:/ -]{1,80}")


class _Stamped(msgspec.Struct):
    timestamp: str
    id: str


class _Range(msgspec.Struct):
    stream: str
    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    count: int
    level: str = ""
    reason: str = ""


class _Control(msgspec.Struct):
    event: str = ""
    destination: str = ""
    drops: list[_Range] = []
    totals: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A record: *key* is `<run>.<stream>`, *number* its place in the stream.

    *raw* is the piece of the line that holds it.
    """

    key: str
    number: int
    timestamp: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """At most *count* numbers from *first* to *last* of *stream* are accounted for."""

    stream: str
    first: int
    last: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Control:
    """What a control record declares; *event* is `drops`, `diverted`, `close` or another."""

    event: str
    destination: str | None
    gaps: tuple[Gap, ...]
    totals: dict[str, int]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a line holds: the records found in it, and whether part of it is damaged."""

    entries: tuple[Entry, ...]
    torn: bool = False
    foreign: bool = False


decode = msgspec.json.Decoder(_Stamped).decode
_decode_control = msgspec.json.Decoder(_Control).decode
_decode_any = msgspec.json.Decoder().decode

_TORN = Reading((), torn=True)
_FOREIGN = Reading((), foreign=True)
_NOTHING = Reading(())


def is_key(key: str) -> bool:
    """Return whether *key* is `<run>.<stream>`."""
    return _KEY.fullmatch(key) is not None


def number_of(digits: str) -> int:
    """Return the number written as *digits*; 0 when it is not one in canonical form."""
    if not digits.isascii() or not digits.isdecimal() or len(digits) > MAX_NUMBER_DIGITS:
        return 0
    return 0 if digits[0] == "0" else int(digits)


def read_line(line: bytes) -> Reading:
    """
    Return what *line* holds.

    A writer that was cut off may leave the start of a record in front of the
    next one, without a newline between; the whole ones in such a line count.
    """
    reading = _read_piece(line)
    if not reading.torn:
        return reading
    whole: list[Entry] = []
    torn = False
    for piece in _pieces(line):
        part = _read_piece(piece)
        whole.extend(part.entries)
        torn = torn or part.torn
    return Reading(tuple(whole), torn=torn)


def _read_piece(piece: bytes) -> Reading:
    try:
        stamped = decode(piece)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if not piece.strip():
            return _NOTHING
        return _FOREIGN if _is_object(piece) else _TORN
    key, _, digits = stamped.id.rpartition("-")
    number = number_of(digits)
    if not number or not is_key(key):
        return _FOREIGN
    return Reading((Entry(key, number, stamped.timestamp, piece),))


def _is_object(piece: bytes) -> bool:
    try:
        return isinstance(_decode_any(piece), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _pieces(line: bytes) -> list[bytes]:
    starts = [0]
    at = line.find(START, 1)
    while at >= 0:
        starts.append(at)
        at = line.find(START, at + 1)
    return [line[a:b] for a, b in zip(starts, [*starts[1:], len(line)], strict=True)]


def read_control(raw: bytes) -> Control | None:
    """Return the declaration of a control record; None when its shape is wrong."""
    try:
        body = _decode_control(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Control(
        event=body.event,
        destination=name_of(body.destination),
        gaps=tuple(
            Gap(
                each.stream,
                each.first,
                each.last,
                min(each.count, each.last - each.first + 1),
                each.reason if _REASON.fullmatch(each.reason) else "other",
            )
            for each in body.drops
            if _STREAM.fullmatch(each.stream)
            and 1 <= each.first <= each.last < 10**MAX_NUMBER_DIGITS
            and each.count > 0
        ),
        totals={
            stream: total
            for stream, total in body.totals.items()
            if _STREAM.fullmatch(stream) and 0 <= total < 10**MAX_NUMBER_DIGITS
        },
    )


def name_of(text: str) -> str | None:
    """Return *text* when it is a destination name, else None."""
    return text if _NAME.fullmatch(text) else None
