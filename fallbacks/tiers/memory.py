"""
The memory tier: the last lines, kept where a program or a test can look at them.
"""

from __future__ import annotations

from collections import deque

from ..batch import Batch
from ..outcomes import DELIVERED, Outcome
from ..tier import Kind


class MemoryTier:
    """
    Keep the last lines in memory. It never fails and never waits.

    Choose it as the end of a chain, so that the last words can be read from a
    process in which nothing else works, or as the sink of a test. When it is full
    the oldest line makes room and is counted in `dropped`.

    Args:
        capacity: How many lines to keep; at least 1.
        name: Label in statistics and receipts.

    Raises:
        ValueError: If *capacity* is below 1.
    """

    kind = Kind.FINAL

    def __init__(self, capacity: int = 1000, *, name: str = "memory") -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.name = name
        self.capacity = capacity
        self._kept: deque[bytes] = deque(maxlen=capacity)
        self._dropped = 0

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The lines kept, oldest first, as they are now. Any thread may ask."""
        # The copy is one step; a loop over the original could meet a write.
        return tuple(self._kept.copy())

    @property
    def dropped(self) -> int:
        """How many lines had to make room since the start."""
        return self._dropped

    def write(self, batch: Batch) -> Outcome:
        """Take every line of *batch*; the answer is always `Delivered`."""
        self._dropped += max(0, len(self._kept) + len(batch) - self.capacity)
        self._kept.extend(batch.lines)
        return DELIVERED

    def close(self) -> None:
        """Do nothing: the lines stay readable."""

    def __repr__(self) -> str:
        return f"<MemoryTier {self.name} [{len(self._kept)}/{self.capacity} lines]>"
