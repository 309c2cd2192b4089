"""
Levels: the six names, their numbers, and what users may write for them.

Rule 1: a level is a plain integer; comparing two of them is the whole level check.
Rule 2: numbers between the named ones are allowed and are called `level<N>` on the line.
Rule 3: names are read in any case; `warn` and `fatal` are read, never written.
"""

from __future__ import annotations

from typing import Final

TRACE: Final = 5
DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
CRITICAL: Final = 50

LEVELS: Final[dict[str, int]] = {
    "trace": TRACE,
    "debug": DEBUG,
    "info": INFO,
    "warning": WARNING,
    "error": ERROR,
    "critical": CRITICAL,
}
ALIASES: Final[dict[str, int]] = {"warn": WARNING, "fatal": CRITICAL}

# The largest number that is a level: beyond it a number is a mistake (a line
# number, a status code), and the cache of tags stays small.
HIGHEST: Final = 1000

_NAMES: Final[dict[int, str]] = {number: name for name, number in LEVELS.items()}
_TAGS: Final[dict[int, bytes]] = {number: f'"{name}"'.encode() for number, name in _NAMES.items()}
_CHOICES: Final = "trace, debug, info, warning (warn), error, critical (fatal)"


def parse_level(level: str | int) -> int:
    """
    Return the number of *level*, given as a name in any case or as a number.

    Numbers from 0 to 1000 are taken as they are, also as text (`"25"`, `"level25"`),
    so that what `level_name` wrote can be read back.

    Raises:
        ValueError: If *level* is none of these; the message names the choices.
    """
    given: object = level  # callers pass on what users wrote, which may be anything
    if isinstance(given, str):
        word = given.strip().lower()
        number = LEVELS.get(word, ALIASES.get(word))
        if number is not None:
            return number
        digits = word.removeprefix("level")
        if digits.isascii() and digits.isdigit() and len(digits) <= 4 and int(digits) <= HIGHEST:
            return int(digits)
    elif isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= HIGHEST:
        return int(given)
    raise ValueError(
        f"unknown level {level!r}; choose one of {_CHOICES}, or a number from 0 to {HIGHEST}"
    )


def level_name(number: int) -> str:
    """Return the lower-case name of *number*; `level<N>` where no name is defined."""
    return _NAMES.get(number) or f"level{int(number)}"


def level_tag(number: int) -> bytes:
    """
    Return the name of *number* as a JSON string in bytes, ready for the line.

    The six names are answered by one dict access; at most `HIGHEST` others are kept.
    """
    tag = _TAGS.get(number)
    if tag is None:
        tag = f'"{level_name(number)}"'.encode()
        if 0 <= number <= HIGHEST:
            _TAGS[number] = tag
    return tag
