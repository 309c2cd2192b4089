"""
Spread: which copies have which lines of one batch. No I/O.

Rule 1: a line is lacking in a copy until a tier of the copy has taken it, or the
copy's repair store has, or a holding tier has taken the line for all of them.
Rule 2: positions only; a batch that travels whole is a range all the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Spread:
    """
    The copies of one batch.

    Args:
        lines: The positions to spread.
        copies: How many copies there are.
        needed: With how many of them a line is safe.
        had: By position, the copies that have it from before, as bits.
    """

    __slots__ = ("_lacking", "had", "needed")

    def __init__(
        self, lines: Sequence[int], copies: int, needed: int, had: Mapping[int, int]
    ) -> None:
        self.needed = needed
        self.had = dict(had)
        """By position, the copies that are known to have it; kept where one is not enough."""
        self._lacking: list[Sequence[int]] = [
            [line for line in lines if not had.get(line, 0) >> copy & 1] if had else lines
            for copy in range(copies)
        ]

    def lacking(self, copy: int) -> Sequence[int]:
        """Return the positions that *copy* is to get."""
        return self._lacking[copy]

    def missed(self, copy: int, left: Sequence[int]) -> Sequence[int]:
        """Return the positions that are safe, so not among those *left*, and lacking in *copy*."""
        return without(self._lacking[copy], left)

    def credit(self, copy: int, taken: Sequence[int], left: Sequence[int]) -> Sequence[int]:
        """Note that *copy* has *taken*; return which of those *left* are safe by that."""
        self.settle(copy, taken)
        if self.needed == 1:
            return common(left, taken)
        for line in taken:
            self.had[line] = self.had.get(line, 0) | 1 << copy
        return [line for line in left if self.had.get(line, 0).bit_count() >= self.needed]

    def settle(self, copy: int, lines: Sequence[int]) -> None:
        """Note that *copy* is to get *lines* no more."""
        self._lacking[copy] = without(self._lacking[copy], lines)

    def hold(self, lines: Sequence[int]) -> None:
        """Note that *lines* are in one place for all copies."""
        for copy in range(len(self._lacking)):
            self.settle(copy, lines)


def without(lines: Sequence[int], others: Sequence[int]) -> Sequence[int]:
    """Return *lines* without those that are among *others*; a range where that makes one."""
    if not others or not lines:
        return lines
    if lines[: len(others)] == others:
        return lines[len(others) :] or ()
    chosen = set(others)
    return [line for line in lines if line not in chosen]


def common(lines: Sequence[int], others: Sequence[int]) -> Sequence[int]:
    """Return those of *lines* that are among *others*, too."""
    if lines == others:
        return lines
    chosen = set(others)
    return [line for line in lines if line in chosen]
