"""
Escaping: make any text safe to show on a terminal and to keep on one line.

Everything that moves the cursor, ends a line or turns the direction of writing is shown as
a visible escape: C0 and C1 controls, DEL, U+2028, U+2029 and the bidirectional controls.
"""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    """Return *text* on one line, without any control character."""
    return _UNSAFE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    short = _SHORT.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def escape_bytes(data: bytes) -> str:
    """Return *data*, which may be anything, as text on one line."""
    return escape(data.decode("utf-8", "backslashreplace"))
