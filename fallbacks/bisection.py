"""
Finding the lines that a tier refuses: how many to offer it next, from the front.

Rule 1: a line is refused for good only when it was offered alone. A refusal of
several may be for their size, or for a single one among them.
Rule 2: no tier, no lines, no clock in here: sizes go in, a size comes out.

Halving finds one line in about log2(n) calls. Behind it nothing is known, so one
line is offered, then four, then sixteen: few bad lines cost few calls, and a
batch of nothing but bad ones costs one call a line, not two.
"""

from __future__ import annotations

from typing import Final

# What a taken offer grows by: with 4, growing costs half the calls that halving does.
_GROWTH: Final = 4


class Bisection:
    """
    The search within one batch on one tier. Tell it of each answer; read `size`.

    `size` is how many lines to offer next; None: all there are.
    """

    __slots__ = ("_dirty", "_largest", "_limit", "size")

    def __init__(self) -> None:
        self.size: int | None = None
        self._dirty = 0
        """So many lines at the front were refused together."""
        self._largest = 0
        """The most lines that were taken together out of a refused range."""
        self._limit: int | None = None
        """More than this is too much for the tier at once."""

    def refused(self, size: int) -> None:
        """The first *size* lines, two or more, were refused together."""
        if not self._dirty:
            self._largest = 0
        self._dirty = size
        self.size = _half(size)

    def took(self, size: int) -> None:
        """The first *size* lines were taken, and are at the front no more."""
        if self.size is None:
            return
        if not self._dirty:
            self.size = _at_most(self.size * _GROWTH, self._limit)
            return
        self._largest = max(self._largest, size)
        self._dirty -= size
        if self._dirty > 0:
            self.size = _half(self._dirty)
            return
        # Every line of the refused range was taken: they were only too many at once.
        self._dirty = 0
        self.size = self._limit = self._largest

    def found(self) -> None:
        """The first lines were refused by themselves: what is behind them is unknown."""
        self._dirty = 0
        self.size = 1


def _half(size: int) -> int:
    return (size + 1) // 2


def _at_most(size: int, limit: int | None) -> int:
    return size if limit is None else min(size, limit)
