"""
Numbers that are held, as intervals: a day of lines in a row costs as much as one line.

Rule 1: each change is one operation in C. A signal handler that raises in the
middle finds the change made, or not made.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")

_first = attrgetter("first")


class _Span(Struct, Generic[T], eq=False):
    """The numbers *first* to *last*, all of them with one value."""

    first: int
    last: int
    value: T


class Spans(Generic[T]):
    """Know the value of each number of one stream. `len` counts intervals."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[_Span[T]] = []

    def __len__(self) -> int:
        return len(self._spans)

    def find(self, number: int) -> T | None:
        """Return the value of *number*; None when it is not here."""
        at = self._place(number)
        return None if at is None else self._spans[at].value

    def add(self, number: int, value: T) -> None:
        """Take in *number*, which is not here."""
        spans = self._spans
        at = bisect_right(spans, number, key=_first)
        if at and spans[at - 1].last == number - 1 and spans[at - 1].value is value:
            spans[at - 1].last = number
        elif at < len(spans) and spans[at].first == number + 1 and spans[at].value is value:
            spans[at].first = number
        else:
            spans.insert(at, _Span(number, number, value))

    def remove(self, number: int) -> None:
        """Forget *number*, if it is here."""
        at = self._place(number)
        if at is None:
            return
        span = self._spans[at]
        if span.first == span.last:
            del self._spans[at]
        elif number == span.first:
            span.first = number + 1
        elif number == span.last:
            span.last = number - 1
        else:
            halves = [
                _Span(span.first, number - 1, span.value),
                _Span(number + 1, span.last, span.value),
            ]
            self._spans[at : at + 1] = halves

    def forget(self, value: T) -> None:
        """Forget all numbers that have *value*."""
        self._spans = [span for span in self._spans if span.value is not value]

    def _place(self, number: int) -> int | None:
        spans = self._spans
        # Replay asks for the lowest numbers, a refused line has a higher one than all.
        if not spans or number > spans[-1].last:
            return None
        at = 0 if number <= spans[0].last else bisect_right(spans, number, key=_first) - 1
        return at if spans[at].first <= number <= spans[at].last else None
