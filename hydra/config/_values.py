"""
Values: what may be written for one option, and what it becomes.

Rule 1: a parser takes what was given and returns the value or raises `RefusedError`,
whose text says what is wrong without repeating the value.
Rule 2: a parser accepts its own result, so settings can be read back in.
Rule 3: text from the environment (`EnvText`) may stand for any type; text from
anywhere else stands for text, a size, a duration, a level or a path.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Final, Self, TypeAlias

from ..core.levels import LEVELS, parse_level

Parser: TypeAlias = Callable[[object], object]

LONGEST_NAME: Final = 64
NAME: Final = re.compile(rf"(?!\.)[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}", re.ASCII)
_QUANTITY: Final = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-z]*)", re.ASCII)
_SIZES: Final = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "kb": 10**3,
    "m": 1 << 20,
    "mib": 1 << 20,
    "mb": 10**6,
    "g": 1 << 30,
    "gib": 1 << 30,
    "gb": 10**9,
}
_DURATIONS: Final = {
    "": 1.0,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_FLAGS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
_DIGITS: Final = 15


class EnvText(str):
    """A value from the environment; `variable` is where it stood."""

    __slots__ = ("variable",)
    variable: str

    def __new__(cls, text: str, variable: str) -> Self:
        self = super().__new__(cls, text)
        self.variable = variable
        return self


class RefusedError(ValueError):
    """A value that cannot be taken; `choices` lists what could be, where that is a list."""

    def __init__(self, message: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.choices = choices


def flag(value: object) -> bool:
    """Return a bool; from the environment also `1 true yes on` and `0 false no off`."""
    if isinstance(value, bool):
        return value
    if isinstance(value, EnvText) and (known := _FLAGS.get(value.strip().lower())) is not None:
        return known
    raise RefusedError("must be true or false")


def count(least: int) -> Parser:
    """Return the parser of whole numbers from *least* up."""

    def parse(value: object) -> int:
        if isinstance(value, EnvText) and re.fullmatch(r"[0-9][0-9_]*", value.strip(), re.ASCII):
            value = int(value.strip().replace("_", "")[:_DIGITS])
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RefusedError(f"must be a whole number, at least {least}")
        return value

    return parse


def size(least: int) -> Parser:
    """Return the parser of sizes in bytes from *least* up: 65536, "64k", "64 KiB", "1 GB"."""

    def parse(value: object) -> int:
        number: int | float | None = None
        if isinstance(value, str):
            number = _quantity(value, _SIZES)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        if number is None:
            raise RefusedError('must be a number of bytes, or text such as "512 KiB" or "1 GB"')
        if number < least:
            raise RefusedError(f"must be at least {least} bytes")
        return int(number)

    return parse


def _is_finite(number: float) -> bool:
    """Return whether *number* is one that the clock can be asked for; integers have no end."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def duration(least: float = 0.0) -> Parser:
    """Return the parser of durations in seconds from *least* up: 5, 0.25, "250 ms", "1 min"."""

    def parse(value: object) -> float:
        number: float | None = None
        if isinstance(value, str):
            number = _quantity(value, _DURATIONS)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number = value
        if number is None or not _is_finite(number):
            raise RefusedError('must be a number of seconds, or text such as "250 ms" or "1 min"')
        if number < least:
            raise RefusedError(f"must be at least {least:g} seconds")
        return float(number)

    return parse


def choice(*choices: str) -> Parser:
    """Return the parser of one word out of *choices*, in any case."""

    def parse(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else None
        if word not in choices:
            raise RefusedError("is not one of the choices", choices)
        return word

    return parse


def level(value: object) -> int:
    """Return the number of a level given by name or number."""
    if isinstance(value, (str, int)):
        try:
            return parse_level(value)
        except ValueError:
            pass  # RefusedError below, with the choices.
    raise RefusedError("is no level", (*LEVELS, "a number from 0 to 1000"))


def text(value: object) -> str:
    """Return *value* if it is text that could be printed on one line."""
    if not isinstance(value, str) or not value.isprintable():
        raise RefusedError("must be text of printable characters")
    return str(value)


def name(value: object) -> str:
    """Return *value* if it can be part of a file name and of a journal frame."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise RefusedError(
            "must be 1 to 64 letters, digits, underscores, dots or dashes, not beginning with a dot"
        )
    return str(value)


def path(value: object) -> str:
    """Return the absolute path of *value*; `~` stands for the home directory."""
    if not isinstance(value, (str, os.PathLike)):
        raise RefusedError("must be a path")
    given = os.fspath(value)
    plain = os.fsdecode(given) if isinstance(given, bytes) else str(given)
    if not plain or "\0" in plain:
        raise RefusedError("must be a path, neither empty nor with a NUL character")
    try:
        os.fsencode(plain)
        return os.path.abspath(os.path.expanduser(plain))
    except UnicodeEncodeError:
        raise RefusedError("has a character that no file name can have") from None
    except OSError as error:
        gone = f"is relative, and the working directory is gone ({error.strerror})"
        raise RefusedError(gone) from None


def file_path(value: object) -> str:
    """Return the absolute path of a file; a directory is refused by its final slash."""
    absolute = path(value)
    if str(value).endswith(("/", os.sep)) or os.path.basename(absolute) == "":
        raise RefusedError("must be the path of a file, not of a directory")
    return absolute


def mode(value: object) -> int:
    """Return permission bits, given as a number or as octal text such as "0640"."""
    bits = value
    if isinstance(value, str) and re.fullmatch(r"(0o?)?[0-7]{3}", value.strip(), re.ASCII):
        bits = int(value.strip().removeprefix("0o"), 8)
    if isinstance(bits, bool) or not isinstance(bits, int) or not 0 <= bits <= 0o777:
        raise RefusedError('must be permission bits, as octal text ("0640") or as a number (0o640)')
    if bits & 0o600 != 0o600:
        raise RefusedError("must let the owner read and write (0600)")
    if bits & 0o111 or bits & 0o002:
        raise RefusedError("must neither be executable nor writable for everybody")
    return bits


def sink(value: object) -> object:
    """Return *value* if it is a tier or can be called."""
    if isinstance(value, str):
        raise RefusedError("is an object and can be given in Python only, never by name")
    if not callable(value) and not callable(getattr(value, "write", None)):
        raise RefusedError("must be a tier, or a callable that takes a list of lines")
    return value


def processors(value: object) -> tuple[Callable[..., object], ...]:
    """Return the callables in *value*; one callable stands for a list of one."""
    if callable(value):
        return (value,)
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (None,)
    found = tuple(item for item in given if callable(item))
    if len(found) != len(given):
        raise RefusedError("must be a list of callables, and can be given in Python only")
    return found


def hook(value: object) -> Callable[..., object]:
    """Return *value* if it is a plain function, or anything else that can be called like one."""
    from fallbacks.tiers.callable import is_coroutine_function

    if not callable(value):
        raise RefusedError("must be a function, and can be given in Python only")
    if is_coroutine_function(value):
        raise RefusedError(
            "must be a plain function: it is called on a thread of the engine, from where "
            "`asyncio.run_coroutine_threadsafe` leads to a loop of yours"
        )
    return value


def words(value: object) -> tuple[str, ...]:
    """Return a tuple of texts; from the environment separated by commas, or as JSON."""
    if isinstance(value, EnvText):
        value = json_of(value) if value.lstrip().startswith("[") else split(value)
    if isinstance(value, str) or not isinstance(value, (Sequence, set, frozenset)):
        raise RefusedError("must be a list of texts")
    found = tuple(str(item) for item in value if isinstance(item, str) and item)
    if len(found) != len(value):
        raise RefusedError("must be a list of texts, none of them empty")
    return found


def json_of(value: str) -> object:
    """Return what *value* holds as JSON."""
    import json

    try:
        return json.loads(value)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RefusedError(f"is not valid JSON: {error}") from None


def split(value: EnvText) -> list[EnvText]:
    """Return the items of a list written with commas, without the blanks around them."""
    return [EnvText(item.strip(), value.variable) for item in value.split(",") if item.strip()]


def _quantity(value: str, units: dict[str, int] | dict[str, float]) -> float | int | None:
    match = _QUANTITY.fullmatch(value.strip())
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None or len(match[1]) > _DIGITS:
        return None
    digits = match[1].replace("_", "")
    return float(digits) * factor if "." in digits else int(digits) * factor
