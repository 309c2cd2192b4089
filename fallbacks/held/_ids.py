"""
A set of ids, each with a value: ids in a row cost as much as one.

Rule 1: ids that end in `-<n>` are kept as intervals for each beginning, all others
singly; `pieces` counts both, and is what the memory grows with.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from ._spans import Spans

# More digits than any counter has; and text to number takes long for very long text.
_DIGITS: Final = 18

T = TypeVar("T")


class Ids(Generic[T]):
    """Know the value of each id. Values are told apart by identity."""

    __slots__ = ("_singles", "_streams", "pieces")

    def __init__(self) -> None:
        self.pieces = 0
        self._streams: dict[bytes, Spans[T]] = {}
        self._singles: dict[bytes, T] = {}

    def __contains__(self, key: bytes) -> bool:
        return self.find(key) is not None

    def find(self, key: bytes) -> T | None:
        """Return the value of *key*; None when it is not here."""
        stream, number = _split(key)
        if number is None:
            return self._singles.get(key)
        spans = self._streams.get(stream)
        return None if spans is None else spans.find(number)

    def add(self, key: bytes, value: T) -> None:
        """Take in *key*, which is not here."""
        stream, number = _split(key)
        if number is None:
            self._singles[key] = value
            self.pieces += 1
            return
        spans = self._streams.get(stream)
        if spans is None:
            spans = self._streams[stream] = Spans()
        before = len(spans)
        spans.add(number, value)
        self.pieces += len(spans) - before

    def remove(self, key: bytes) -> None:
        """Forget *key*, which is here."""
        stream, number = _split(key)
        if number is None:
            del self._singles[key]
            self.pieces -= 1
            return
        spans = self._streams[stream]
        before = len(spans)
        spans.remove(number)
        self.pieces += len(spans) - before
        if not spans:
            del self._streams[stream]

    def forget(self, value: T) -> None:
        """Forget all ids that have *value*."""
        self._singles = {key: at for key, at in self._singles.items() if at is not value}
        for spans in self._streams.values():
            spans.forget(value)
        self._streams = {stream: spans for stream, spans in self._streams.items() if spans}
        self.pieces = len(self._singles) + sum(map(len, self._streams.values()))

    def clear(self) -> None:
        """Forget all ids."""
        self._streams, self._singles, self.pieces = {}, {}, 0


def _split(key: bytes) -> tuple[bytes, int | None]:
    """Return what *key* begins with and the number behind its last dash, if it ends in one."""
    stream, dash, digits = key.rpartition(b"-")
    # As it would be written: of 7 and 07 only one is the number 7.
    if not dash or not digits.isdigit() or len(digits) > _DIGITS or digits[:1] == b"0":
        return key, None
    return stream, int(digits)
