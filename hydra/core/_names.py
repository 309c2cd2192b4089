"""
Names: which keys may be written as they are, remembered so that a set can answer.

Rule 1: a key is plain if it is an exact string of unremarkable ASCII and hides no secret. One
that belongs to a field must not be a reserved name or a control keyword either; inside of a
container those are keys like any other.
Rule 2: the sets are replaced when full, not shrunk: keys that are made of data cannot fill the
memory, and whoever holds the old set can go on with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final, TypeGuard

from ._plain import Redacts

RESERVED: Final = frozenset(
    {"timestamp", "level", "logger", "message", "exception", "id", "truncated"}
)
# Keywords of a logging call that say how it is logged; they are no fields.
CONTROL: Final = frozenset({"exc_info", "stack_info", "stacklevel", "extra"})
# Names that are not written as they are.
UNUSUAL: Final = RESERVED | CONTROL

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/@ -]{1,64}")
_MOST: Final = 4_096
# So many values of a container are looked at for keys to remember, and so deep.
_FEW: Final = 8


class Names:
    """The keys seen so far that are plain, by the eyes of *redactor*."""

    __slots__ = ("_redactor", "known", "within")

    def __init__(self, redactor: Redacts) -> None:
        self._redactor = redactor
        self.known: set[str] = set()
        """Of fields."""
        self.within: set[str] = set()
        """Of dicts in fields."""

    def learn(self, keys: Iterable[str]) -> bool:
        """Return whether fields under *keys* may be encoded as they are; remember them if so."""
        if not all(self._is_plain(key, UNUSUAL) for key in keys):
            return False
        if len(self.known) >= _MOST:
            self.known = set()
        self.known.update(keys)
        return True

    def learn_within(self, values: Iterable[object], depth: int = 0) -> None:
        """Remember the keys of dicts in *values*, and in what these hold."""
        for value in islice(values, _FEW):
            inner: Iterable[object]
            if type(value) is dict:
                # Lists, each made in one step: others may change the dict meanwhile.
                given, inner = list(islice(value, _MOST)), list(islice(value.values(), _FEW))
                # No other key is asked anything: it may have methods of its own.
                keys = [key for key in given if type(key) is str]
                if not self.within.issuperset(keys):
                    if len(self.within) >= _MOST:
                        self.within = set()
                    self.within.update(filter(self._is_plain, keys))
            elif type(value) is list or type(value) is tuple:
                inner = value
            else:
                continue
            if depth < _FEW:
                self.learn_within(inner, depth + 1)

    def _is_plain(self, key: object, refused: frozenset[str] = frozenset()) -> TypeGuard[str]:
        return (
            type(key) is str
            and key not in refused
            and _PLAIN.fullmatch(key) is not None
            and not self._redactor.verdict(key)
        )
