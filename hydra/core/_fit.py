"""
Fitting: cut a record that is too large to the bytes that it may take.

Rule 1: small fields survive large ones. Every field gets an equal share of the room, and
what short fields leave over goes to the others; only those above their share are cut.
Rule 2: text is cut and ends in `...`; containers are walked again with less room; a number
that does not fit is left out. When there are too many fields, the last are left out.
Rule 3: what comes out is valid JSON in at most the bytes asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import msgspec

from .values import DEPTH, MARK, Plain, ShowAll, Walker

Encode: TypeAlias = Callable[[Plain], bytes]

_SHARE: Final = 64
_TAIL: Final = MARK.encode() + b'"'
_EXCEPTION: Final = b',"exception":'
# As much of the inside of a JSON string as holds whole escapes only.
_WHOLE: Final = re.compile(r"(?:[^\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*")


def cut_text(encode: Encode, text: str, room: int) -> bytes:
    """Return *text* as a JSON string in at most *room* bytes; empty if not even `"..."` fits."""
    short = text[: max(room, 0)]
    data = encode(short)
    if len(data) <= room and len(short) == len(text):
        return data
    inside = room - 1 - len(_TAIL)
    if inside < 0:
        return b""
    # Cutting may split a character or an escape; both halves are dropped.
    kept = _WHOLE.match(data[1:-1][:inside].decode("utf-8", "ignore"))
    return b'"' + (kept[0] if kept else "").encode() + _TAIL


def fit(encode: Encode, message: str, fields: dict[str, Plain], room: int) -> tuple[bytes, bytes]:
    """
    Return *message* and *fields* as JSON, together in at most *room* bytes.

    Fields come with a comma before each. The message may take half of the room, and more
    where the fields leave it.
    """
    pieces = [(key, value, _piece(encode, key, value)) for key, value in fields.items()]
    sizes = [len(piece) for _, _, piece in pieces]
    message_json = cut_text(encode, message, max(room // 2, room - sum(sizes)))
    room -= len(message_json)
    share = fair_share(sizes, room)
    kept = []
    for key, value, piece in pieces:
        allowed = min(share, room)
        kept.append(piece if len(piece) <= allowed else _shrunk(encode, key, value, allowed))
        room -= len(kept[-1])
    return message_json, b"".join(kept)


def fair_share(sizes: list[int], room: int) -> int:
    """
    Return the largest size that each may take so that all fit into *room*; at least 64.

    The least keeps many fields from all being cut to nothing: then the first ones stay.
    """
    left, count = room, len(sizes)
    for size in sorted(sizes):
        if size * count > left:
            return max(left // count, _SHARE)
        left -= size
        count -= 1
    return max(sizes, default=_SHARE)


def _piece(encode: Encode, key: str, value: Plain) -> bytes:
    return b"," + encode(key) + b":" + encode(value)


def _shrunk(encode: Encode, key: str, value: Plain, room: int) -> bytes:
    """Return a field in at most *room* bytes; empty if nothing of it fits."""
    name = b"," + encode(key) + b":"
    left = room - len(name)
    if left < len(_TAIL) + 1:
        return b""
    if isinstance(value, str):
        return name + cut_text(encode, value, left)
    if not isinstance(value, (list, dict)):
        return b""
    allowed = left
    while allowed >= 8:
        data = encode(Walker(ShowAll(), DEPTH, allowed).value(value))
        if len(data) <= left:
            return name + data
        allowed //= 2
    return b""


def shrink_exception(encode: Encode, tag: bytes, room: int) -> bytes:
    """
    Return the exception part *tag* of a line in at most *room* bytes.

    Its type and the start of its message are kept longest, the causes go first. A *tag*
    that is no exception part, or a *room* too small for one, gives nothing.
    """
    if len(tag) <= room:
        return tag
    try:
        found = cast("dict[str, str]", msgspec.json.decode(tag.removeprefix(_EXCEPTION)))
        kind, message, stack = found["type"], found["message"], found["stacktrace"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return b""
    empty = _EXCEPTION + b'{"type":,"message":,"stacktrace":,"causes":[]}'
    left = room - len(empty)
    kind_json = cut_text(encode, kind, left // 4)
    message_json = cut_text(encode, message, left // 4)
    stack_json = cut_text(encode, stack, left - len(kind_json) - len(message_json))
    if not (kind_json and message_json and stack_json):
        return b""
    return b'%b{"type":%b,"message":%b,"stacktrace":%b,"causes":[]}' % (
        _EXCEPTION,
        kind_json,
        message_json,
        stack_json,
    )
