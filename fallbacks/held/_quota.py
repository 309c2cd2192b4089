"""
The quota of a held store: which lines there is room for.

Rule 1: the store's files have so many bytes at most, and its index so many intervals.
Rule 2: a part of both is kept for guaranteed lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ..outcomes import Full

PIECES: Final = 100_000
"""Most intervals of ids; about 15 MB. What begins one more is refused as at the quota."""


@dataclass(frozen=True, slots=True)
class Quota:
    """
    What a store may have.

    Args:
        whole: Bytes that all files together may have.
        reserve: Bytes of these that are kept for guaranteed lines.
        guaranteed: Returns whether the reserve is for a line.

    Raises:
        ValueError: If *reserve* is negative or beyond *whole*.
    """

    whole: int
    reserve: int
    guaranteed: Callable[[bytes], bool]

    def __post_init__(self) -> None:
        if not 0 <= self.reserve <= self.whole:
            raise ValueError(f"reserve must be 0 to {self.whole}, the quota, not {self.reserve}")

    def fitting(self, fresh: Mapping[bytes, bytes], used: int, pieces: int) -> list[bytes]:
        """
        Return the ids of the lines that there is room for.

        Args:
            fresh: Lines by id.
            used: Bytes that the files have.
            pieces: Intervals that the index has.
        """
        # One byte more for the newline that may have to end a torn line.
        room = self.whole - used - 1 if pieces < PIECES else 0
        ordinary = room - self.reserve if pieces < PIECES // 2 else 0
        fits: list[bytes] = []
        for key, line in fresh.items():
            size = len(line)
            # The first line of its kind that does not fit is the last one that is looked
            # at: what is refused gets declared by its numbers, and is best one range.
            if size > ordinary and not self.guaranteed(line):
                ordinary = 0
            elif size > room:
                room = 0
            else:
                fits.append(key)
                room -= size
                ordinary -= size
        return fits

    def refusal(self, pieces: int) -> Full:
        """Return the answer to lines that there is no room for."""
        return Full(
            f"the quota of {self.whole} bytes for held lines is used up"
            if pieces < PIECES // 2
            else "the ids of the held lines have too many gaps"
        )
