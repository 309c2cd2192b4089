"""
The index: which ids are held, and by which segment. No I/O but through a segment.

Rule 1: an id is held once. Of two lines with the same id, the one that came
first counts, and the other one is passed over wherever it stands.
Rule 2: where in its segment a line stands is not remembered but read.
"""

from __future__ import annotations

from collections.abc import Callable

from ._format import OWN, Line, decode_ack
from ._ids import Ids
from ._segment import Segment


class Index:
    """
    Know the unacknowledged lines of all segments by their ids.

    Args:
        identify: Returns the id of a line, or None when it is not a whole line.
        weigh: Returns what a line counts.
    """

    __slots__ = ("_ids", "_weigh", "identify", "torn")

    def __init__(
        self, identify: Callable[[bytes], bytes | None], weigh: Callable[[bytes], int]
    ) -> None:
        self.identify = identify
        self.torn = 0
        self._weigh = weigh
        self._ids: Ids[Segment] = Ids()

    def __contains__(self, key: bytes) -> bool:
        return key in self._ids

    @property
    def pieces(self) -> int:
        """What the memory grows with: intervals of ids."""
        return self._ids.pieces

    def add(self, segment: Segment, key: bytes, line: bytes) -> None:
        """Take in a line of *segment* whose id nobody holds."""
        left, weight = segment.left + 1, segment.weight + self._weigh(line)
        self._ids.add(key, segment)
        segment.left, segment.weight = left, weight

    def key_of(self, segment: Segment, line: Line) -> bytes | None:
        """Return the id of *line* if *segment* holds it; None for every other line."""
        if line.data.startswith(OWN):
            return None
        key = self.identify(line.data)
        return key if key is not None and self._ids.find(key) is segment else None

    def settle(self, segment: Segment, line: bytes) -> None:
        """Forget an acknowledged line. Idempotent."""
        key = self.identify(line)
        if key is None or self._ids.find(key) is not segment:
            return
        left, weight = segment.left - 1, segment.weight - self._weigh(line)
        self._ids.remove(key)
        segment.left, segment.weight = left, weight

    def forget(self, segment: Segment) -> None:
        """Forget all lines of *segment*."""
        self._ids.forget(segment)
        segment.left = segment.weight = 0

    def clear(self) -> None:
        """Forget all lines of all segments."""
        self._ids.clear()

    def load(self, segment: Segment) -> None:
        """
        Find out what a segment that was taken over still holds.

        Raises:
            OSError: If it cannot be read; none of its lines counts then.
        """
        segment.offered = segment.size
        for line in segment.lines(0):
            offset = decode_ack(line)
            # A place within a line is a damaged number: to believe it would cost whole lines.
            if offset > segment.start and segment.is_line_end(offset):
                segment.start = offset
        try:
            self._add_lines(segment)
        except OSError:
            self.forget(segment)
            raise

    def _add_lines(self, segment: Segment) -> None:
        for line in segment.lines(segment.start):
            segment.torn_tail = not line.data
            if line.data.startswith(OWN) or line.data == b"\n":
                continue
            key = self.identify(line.data)
            if key is None:
                self.torn += 1
            elif key not in self:
                self.add(segment, key, line.data)
                segment.first = segment.first or line.data
