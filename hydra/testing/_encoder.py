"""
The rules of an encoder, as cases, and the check that tries them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeAlias

from fallbacks.testing.conformance import Broken, Case, Verdict, chosen, try_all

from ._corpus import ESCAPES, canonical_lines

Encoder: TypeAlias = Callable[[bytes], bytes]

_SGR: Final = re.compile(rb"\x1b\[[0-9;]*m")
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BIDI: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RAW: Final = tuple(sequence.encode() for sequence in ESCAPES)
# What a rendering may add to a line: a marked and coloured line for each escaped newline.
_GROWTH: Final = 16
_ROOM: Final = 4096


class Rendering:
    """
    An encoder and the lines it is tried on.

    Args:
        encode: The encoder.
        lines: The lines.
        continuation: What each further line of one output starts with.
        colors: Whether it may colour.
        people: Whether its output is for reading.
    """

    def __init__(
        self,
        encode: Encoder,
        lines: Sequence[bytes],
        *,
        continuation: bytes,
        colors: bool,
        people: bool,
    ) -> None:
        self.encode = encode
        self.lines = lines
        self.continuation = continuation
        self.colors = colors
        self.people = people

    def shown(self, line: bytes) -> bytes:
        """Return the output for *line* without the colours that it may have."""
        out = self.encode(line)
        return _SGR.sub(b"", out) if self.colors else out

    def text(self, line: bytes) -> str:
        """Return the same as text, with what is no UTF-8 replaced: another case tells that."""
        return self.shown(line).decode("utf-8", "replace")

    def overdue(self) -> str:
        """Say what hangs; a function cannot be stopped."""
        return "the encoder hangs"

    def end(self) -> None:
        """Do nothing: an encoder holds nothing."""


EncoderCase: TypeAlias = Case[Rendering]


def _answers(r: Rendering) -> None:
    for line in r.lines:
        try:
            out = r.encode(line)
        except BaseException as error:
            raise Broken(f"{error!r} for {_short(line)}") from error
        if type(out) is not bytes:
            raise Broken(f"{type(out).__name__} for {_short(line)}")


def _ends_once(r: Rendering) -> None:
    for line in r.lines:
        out = r.shown(line)
        if not out.endswith(b"\n") or out.endswith(b"\n\n"):
            raise Broken(f"it ends with {out[-20:]!r} for {_short(line)}")


def _is_one_line(r: Rendering) -> None:
    for line in r.lines:
        first, *further = r.shown(line).removesuffix(b"\n").split(b"\n")
        if r.continuation and first.startswith(r.continuation):
            raise Broken(f"an output that starts as a continuation: {first[:80]!r}")
        for row in further:
            if not r.continuation or not row.startswith(r.continuation):
                raise Broken(f"a further line {row[:80]!r} for {_short(line)}")


def _has_no_controls(r: Rendering) -> None:
    for line in r.lines:
        text = r.text(line)
        found = _CONTROL.search(text) or (_BIDI.search(text) if r.people else None)
        if found is not None:
            raise Broken(f"{found[0]!r} in {text[max(0, found.start() - 30) :][:60]!r}")


def _passes_no_escapes(r: Rendering) -> None:
    for line in r.lines:
        out = r.encode(line)
        for sequence in _RAW:
            if sequence in out:
                raise Broken(f"{sequence!r} for {_short(line)}")


def _is_utf8(r: Rendering) -> None:
    for line in r.lines:
        out = r.encode(line)
        try:
            out.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Broken(f"{error} for {_short(line)}") from error


def _is_pure(r: Rendering) -> None:
    first = [r.encode(line) for line in r.lines]
    again = [r.encode(bytes(bytearray(line))) for line in reversed(r.lines)][::-1]
    for line, one, other in zip(r.lines, first, again, strict=True):
        if one != other:
            raise Broken(f"{one[:80]!r}, then {other[:80]!r}")
    if len(set(r.lines)) > 1 and len(set(first)) == 1:
        raise Broken(f"every line gives {first[0][:80]!r}")


def _is_bounded(r: Rendering) -> None:
    for line in r.lines:
        size, limit = len(r.encode(line)), _GROWTH * len(line) + _ROOM
        if size > limit:
            raise Broken(f"{size} bytes for a line of {len(line)}; the limit is {limit}")


def _short(line: bytes) -> str:
    return f"the line {line[:120]!r}"


ENCODER_CASES: Final[tuple[EncoderCase, ...]] = (
    Case("answer", "For every canonical line an encoder returns bytes; it never raises.",
         _answers, vital=True),
    Case("one newline", "An output ends with one newline.", _ends_once),
    Case("one line", "One record is one line; a further line starts with the mark of a "
         "continuation, so that no text can pass for a record.", _is_one_line),
    Case("no controls", "No control character of the data comes out: none of C0, DEL, C1, U+2028 "
         "and U+2029, and for people none that turns the direction of writing.", _has_no_controls),
    Case("no escapes", "No terminal obeys the data: an escape sequence in it never comes out, "
         "whatever colours the encoder has of its own.", _passes_no_escapes),
    Case("utf-8", "An output is valid UTF-8.", _is_utf8),
    Case("pure", "An encoder is a function of its line: same in, same out, in any order.",
         _is_pure),
    Case("bounded", "An output is not much longer than its line.", _is_bounded),
)  # fmt: skip


def encoder_cases() -> tuple[EncoderCase, ...]:
    """Return the rules of an encoder, for a parametrised test: one at a time to `check_encoder`."""
    return ENCODER_CASES


def check_encoder(
    encode: Encoder,
    *,
    lines: Iterable[bytes] = (),
    continuation: bytes = b"",
    colors: bool = False,
    people: bool = True,
    seconds: float = 10.0,
    cases: Iterable[EncoderCase] | None = None,
    skip: Collection[str] = (),
) -> Verdict:
    """
    Try the rules of a rendering on *encode*: lines in, hostile ones among them, bytes out.

    Args:
        encode: Makes an output of a canonical line, newline included.
        lines: More canonical lines to try it on, besides `canonical_lines`.
        continuation: What every further line of one output starts with; empty for
            encoders that make one line of each record.
        colors: Whether it colours: escape sequences of the form `ESC [ ... m` that
            do not come from the data are its own business.
        people: Whether the output is for reading. For machines, False: controls of
            the direction of writing may pass.
        seconds: How long one rule may take, at most.
        cases: The rules to try, from `encoder_cases`; all when None.
        skip: Names of rules to leave out.

    Raises:
        Nonconforming: If rules are broken, an `AssertionError`. Its message has each
            of them with what was seen.
        ValueError: If *skip* names no rule, or *seconds* is not positive.
    """
    corpus = (*canonical_lines(), *lines)
    name = getattr(encode, "__name__", type(encode).__name__)
    return try_all(
        name,
        lambda: Rendering(encode, corpus, continuation=continuation, colors=colors, people=people),
        chosen(ENCODER_CASES, cases, skip),
        seconds=seconds,
    )
