"""
A batch: the lines that travel through a chain together.

Rule 1: lines are opaque bytes, one line each, newline included.
Rule 2: a batch never changes; `select` makes a smaller one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload


class Batch(Sequence[bytes]):
    """
    An immutable sequence of lines with their joined bytes at hand.

    Args:
        lines: The lines, each ending in a newline. The list is not copied and
            must not be changed afterwards.
        duplicate: True when an earlier attempt on these lines ended in
            `Unknown`, so that a receiver may see a line for the second time.
    """

    __slots__ = ("_data", "duplicate", "lines")

    def __init__(self, lines: Sequence[bytes], *, duplicate: bool = False) -> None:
        self.lines = lines
        self.duplicate = duplicate
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """All lines as one bytes object, joined at the first use."""
        if self._data is None:
            self._data = b"".join(self.lines)
        return self._data

    def select(self, indices: Iterable[int], *, duplicate: bool | None = None) -> Batch:
        """Return the batch of the lines at *indices*, in that order."""
        lines = self.lines
        return Batch(
            [lines[i] for i in indices],
            duplicate=self.duplicate if duplicate is None else duplicate,
        )

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.lines)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        return self.lines[index]

    def __repr__(self) -> str:
        mark = ", duplicate" if self.duplicate else ""
        return f"<Batch [{len(self.lines)} lines{mark}]>"
