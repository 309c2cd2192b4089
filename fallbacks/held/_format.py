"""
The format of held segments: names, headers, acknowledgements and lines. No I/O.

Rule 1: a line of the store's own begins with `OWN`, which no held line does.
Rule 2: no bytes make reading raise; what is no whole line comes as an empty one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, structs

from ..position import Position

VERSION: Final = 1
SUFFIX: Final = ".held"
OWN: Final = b'{"hydra":'
LONGEST: Final = 4 * 1024 * 1024
"""The longest line in bytes that is read back; a longer one counts as torn."""
WINDOW: Final = 256 * 1024
"""Bytes that are read at once."""

IMPORTED: Final = "adopted"
"""Stands in a file name in the number's place when the lines come from elsewhere."""


class Header(Struct, frozen=True):
    """Whose the lines of a segment are; *version* 0 when it does not say."""

    app: str
    destination: str
    run: str
    scan: Position | None
    version: int = VERSION


class Line(Struct, frozen=True):
    """A line and its place in the file; empty when it is torn or too long."""

    data: bytes
    start: int
    end: int


def encode_header(header: Header, uid: int) -> bytes:
    """Return the first line of a segment."""
    facts: dict[str, object] = {
        "hydra": "held",
        "version": header.version,
        "app": header.app,
        "uid": uid,
        "destination": header.destination,
        "run": header.run,
        "scan": None if header.scan is None else structs.asdict(header.scan),
    }
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"


def decode_header(line: bytes) -> Header | None:
    """Return the header; None if *line* is none."""
    facts = _own(line, "held")
    if facts is None:
        return None
    version = facts.get("version")
    return Header(
        app=str(facts.get("app")),
        destination=str(facts.get("destination")),
        run=str(facts.get("run")),
        scan=_position(facts.get("scan")),
        version=version if isinstance(version, int) else 0,
    )


def encode_ack(offset: int) -> bytes:
    """Return the line that acknowledges everything before *offset*."""
    return b'%b"ack","offset":%d}\n' % (OWN, offset)


def decode_ack(line: Line) -> int:
    """Return the offset before which *line* acknowledges everything; 0 if it does not."""
    facts = _own(line.data, "ack")
    offset = None if facts is None else facts.get("offset")
    # It can only speak of what was there before it.
    return offset if isinstance(offset, int) and 0 <= offset <= line.start else 0


def _own(line: bytes, kind: str) -> dict[str, object] | None:
    if not line.startswith(OWN):
        return None
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    # What begins like this and is valid can only be an object.
    assert isinstance(found, dict)
    return found if found["hydra"] == kind else None


def _position(value: object) -> Position | None:
    if not isinstance(value, dict):
        return None
    dev, ino, offset = (value.get(key) for key in ("dev", "ino", "offset"))
    if isinstance(dev, int) and isinstance(ino, int) and isinstance(offset, int):
        return Position(dev, ino, offset)
    return None


def split_lines(read: Callable[[int, int], bytes], start: int, stop: int) -> Iterator[Line]:
    """
    Yield the lines between two offsets.

    Args:
        read: Returns the bytes from an offset up to another one, or fewer.
        start: Where a line begins.
        stop: Where the data ends.
    """
    rest = b""
    at = begin = start
    while at < stop:
        data = read(at, min(at + WINDOW, stop))
        if not data:
            break
        end = at - len(rest)
        at += len(data)
        pieces = (rest + data).split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            end += len(piece) + 1
            whole = end - begin == len(piece) + 1
            yield Line(piece + b"\n" if whole else b"", begin, end)
            begin = end
        if len(rest) > LONGEST:
            rest = b""
    if begin < at:
        yield Line(b"", begin, at)


def segment_name(base: str, run: str, number: str, attempt: int) -> str:
    """Return the file name of a segment; a later *attempt* gives another one."""
    return f"{base}.{run}-{number}{'' if attempt == 1 else f'.{attempt}'}{SUFFIX}"


def is_segment_name(name: str, base: str) -> bool:
    """Return whether a store for *base* may have given *name*, the hidden ones included."""
    return name.endswith(SUFFIX) and name.startswith((f"{base}.", f".{base}."))


def is_import_name(name: str, base: str, run: str) -> bool:
    """Return whether *name* is one for lines of *run* that came from elsewhere."""
    return name.endswith(SUFFIX) and name.startswith(f"{base}.{run}-{IMPORTED}")


def run_in_name(path: str, base: str) -> str:
    """Return the run that the name of a segment says."""
    return os.path.basename(path)[len(base) + 1 : -len(SUFFIX)].rpartition("-")[0]


def number_in_name(path: str) -> int:
    """Return the number in the name of a segment; 0 if it has none."""
    number = path[: -len(SUFFIX)].rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
