"""
Record ids: `<run>.<stream>-<n>`, how they are made, written and read.

Rule 1: a run is 12 characters of a-z and 0-9, new for each process run and forked child.
Rule 2: a stream is a decimal number and a lane: `r` ordinary, `g` guaranteed (ERROR and
above), `c` control records. *n* counts from 1 without gaps within a stream.
Rule 3: reading is strict. What is not exactly such an id is no id, since the audit would
otherwise count text from a message as a record.
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

RUN_LENGTH: Final = 12
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID: Final = re.compile(rb"([a-z0-9]{12})\.(0|[1-9][0-9]{0,9})([rgc])-([1-9][0-9]{0,18})")
_MARK: Final = b',"id":"'
_TAIL: Final = b'"}'


class Id(NamedTuple):
    """The parts of a record id; `str()` gives its written form."""

    run: str
    number: int
    lane: str
    n: int

    @property
    def stream(self) -> str:
        """Number and lane, as in `1r`."""
        return f"{self.number}{self.lane}"

    def __str__(self) -> str:
        return f"{self.run}.{self.number}{self.lane}-{self.n}"


def new_run() -> str:
    """
    Return the name of a new run: 12 characters (62 bits) from the system's randomness.

    `os.urandom` is asked each time, so a forked child never repeats its parent's names.
    """
    number = int.from_bytes(os.urandom(16), "big")
    letters = []
    for _ in range(RUN_LENGTH):
        number, digit = divmod(number, 36)
        letters.append(_ALPHABET[digit])
    return "".join(letters)


def parse_id(text: bytes | str) -> Id | None:
    """Return the parts of *text*, or None if it is not exactly a record id."""
    if isinstance(text, str):
        if not text.isascii():
            return None
        text = text.encode("ascii")
    found = _ID.fullmatch(text)
    if found is None:
        return None
    run, number, lane, n = found.groups()
    return Id(run.decode(), int(number), lane.decode(), int(n))


def identify(line: bytes) -> bytes | None:
    """
    Return the id of a canonical *line*, with or without its newline; None if it has none.

    Only an id that closes the line counts: a message cannot forge one, because quotes
    inside JSON strings are escaped.
    """
    start = line.rfind(_MARK)
    if start < 0 or not line.startswith(b"{"):
        return None
    end = len(line) - (1 if line.endswith(b"\n") else 0) - len(_TAIL)
    candidate = line[start + len(_MARK) : end]
    if line[end : end + len(_TAIL)] != _TAIL or _ID.fullmatch(candidate) is None:
        return None
    return candidate


def guaranteed(line: bytes) -> bool:
    """Return whether *line* is of the guaranteed lane: ERROR and above."""
    # Told by one byte for nearly all of the others; what has it must be an id, too.
    return line.endswith(b"g", 0, line.rfind(b"-")) and identify(line) is not None


def weigh(line: bytes) -> int:
    """
    Return how many records *line* counts for: 0 for a control record, else 1.

    A line without an id is somebody's record too, so it weighs 1.
    """
    found = identify(line)
    if found is None:
        return 1
    return 0 if found[: found.index(b"-")].endswith(b"c") else 1
