"""
The words that values, lines and errors share: plain data, limits, marks and roles.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"

DEPTH: Final = 32
ROOM: Final = 65_536
MARK: Final = "..."
CYCLE: Final = "<cycle>"

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1

# Beyond this, converting to decimal text takes noticeable time (and Python may refuse it).
INT_BITS: Final = 4096
KEY_LIMIT: Final = 256
REPR_LIMIT: Final = 4096
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Redacts(Protocol):
    """The role of a redactor: say which keys hide a secret, and what to show instead."""

    @property
    def mask(self) -> str:
        """The text that stands in the place of a secret."""

    def verdict(self, key: str) -> bool:
        """Return whether the value under *key* must not be shown. Must not raise."""


class ShowAll:
    """A redactor that hides nothing."""

    mask: Final = "***"

    def verdict(self, key: str) -> bool:
        """Return False for every key."""
        return False


class Lazy:
    """A value that is computed when, and only if, a record is encoded; see `lazy`."""

    __slots__ = ("_compute",)

    def __init__(self, compute: Callable[[], object]) -> None:
        self._compute = compute

    def __call__(self) -> object:
        """Compute and return the value."""
        return self._compute()


def clean(text: str) -> str:
    """Return *text* with every surrogate replaced, so that UTF-8 can hold it."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def unprintable(value: object, error: BaseException) -> str:
    """Return what is shown for *value*, whose own text failed with *error*."""
    return f"<unprintable {type_name(type(value))}: {type_name(type(error))}>"


def type_name(kind: type) -> str:
    """Return the name of *kind* without its module; never raises."""
    try:
        name = kind.__name__
        return clean(name[:KEY_LIMIT]) if type(name) is str else "object"
    except Exception:  # a metaclass may refuse even this
        return "object"
