"""
Renderings for people: `plain`, one line for each record, and `text`, for terminals.

Rule 1: pure functions of the canonical line; they run in the writer, never at the call.
Rule 2: whatever comes in, no control character goes out but the newline at the end of a
line and, with colours, the escape sequences made here.
Rule 3: what is no canonical line is shown escaped, on one line; nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

import msgspec

from ._escape import escape, escape_bytes

Encoder: TypeAlias = Callable[[bytes], bytes]

_HEAD: Final = ("timestamp", "level", "logger", "message")
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d\.\d{3})\d*Z")
_BARE: Final = re.compile(r"[^\s\"=\\]+")
_WIDTH: Final = 5
_BLOCK: Final = "    | "

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_COLORS: Final = {
    "TRACE": "\x1b[2m",
    "DEBUG": "\x1b[36m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def plain(line: bytes) -> bytes:
    """
    Return the record as one line: time, level, logger, message and fields.

    Choose it for files that people read. The id is left out; the stack trace stands at the
    end with its newlines escaped, so that one record is one line.
    """
    record = parse(line)
    if record is None:
        return _raw(line)
    parts = [_start(record), *(f"{key}={value}" for key, value in _fields(record))]
    error = record.get("exception")
    if error is not None:
        title, stack, _ = _exception(error)
        parts.append(f"exception={shown(title)}")
        if stack:
            parts.append(f"stacktrace={shown(stack)}")
    return (" ".join(parts) + "\n").encode()


def text(line: bytes) -> bytes:
    """
    Return the record as in `plain`, with the stack trace as a marked block below it.

    Each line of the block starts with `    | `, so none can pass for a record.
    """
    return _text(line, color=False)


def colored(line: bytes) -> bytes:
    """Return the record as in `text`, with colours; for terminals only."""
    return _text(line, color=True)


def _text(line: bytes, *, color: bool) -> bytes:
    record = parse(line)
    if record is None:
        return _raw(line)
    start = _painted(record) if color else _start(record)
    equals = f"{_RESET}=" if color else "="
    dim = _DIM if color else ""
    parts = [start, *(f"{dim}{key}{equals}{value}" for key, value in _fields(record))]
    rows = [" ".join(parts)]
    error = record.get("exception")
    if error is not None:
        title, stack, causes = _exception(error)
        block = stack.split("\n") if stack else [title, *(f"caused by {c}" for c in causes)]
        rows += [f"{dim}{_BLOCK}{_RESET if color else ''}{escape(row)}" for row in block]
    return ("\n".join(rows) + "\n").encode()


def parse(line: bytes) -> Mapping[str, object] | None:
    """Return the record of a canonical *line*, or None if it is none."""
    try:
        record = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(record, dict) or not all(isinstance(record.get(k), str) for k in _HEAD):
        return None
    return cast("Mapping[str, object]", record)


def shown(value: object) -> str:
    """Return the value of a field: bare words as they are, all else as JSON, escaped."""
    if isinstance(value, str) and _BARE.fullmatch(value):
        return escape(value)
    return escape(_encode(value).decode())


def _head(record: Mapping[str, object]) -> tuple[str, str, str, str]:
    stamp, level, logger, message = (escape(str(record[key])) for key in _HEAD)
    found = _STAMP.fullmatch(stamp)
    return (f"{found[1]} {found[2]}" if found else stamp), level.upper(), logger, message


def _start(record: Mapping[str, object]) -> str:
    stamp, level, logger, message = _head(record)
    return f"{stamp} {level:<{_WIDTH}} {logger}: {message}"


def _painted(record: Mapping[str, object]) -> str:
    stamp, level, logger, message = _head(record)
    paint = _COLORS.get(level, "")
    return (
        f"{_DIM}{stamp}{_RESET} {paint}{level:<{_WIDTH}}{_RESET} {_BOLD}{logger}{_RESET}: {message}"
    )


def _fields(record: Mapping[str, object]) -> list[tuple[str, str]]:
    return [
        (escape(key) if _BARE.fullmatch(key) else shown(key), shown(value))
        for key, value in record.items()
        if key not in _HEAD and key not in ("exception", "id")
    ]


def _exception(error: object) -> tuple[str, str, list[str]]:
    """Return title, stack trace and causes of the `exception` of a record."""
    if not isinstance(error, dict):
        return str(error), "", []
    stack = error.get("stacktrace")
    causes = error.get("causes")
    return (
        _title(error),
        stack if isinstance(stack, str) else "",
        [_title(cause) for cause in causes] if isinstance(causes, list) else [],
    )


def _title(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    return f"{error.get('type')}: {error.get('message')}"


def _raw(line: bytes) -> bytes:
    return escape_bytes(line.removesuffix(b"\n")).encode() + b"\n"
