"""
The index: which ids are held, and where. No I/O but through a segment.

Rule 1: an id is held once. Of two lines with the same id, the one that came
first counts, and the other one is passed over wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable

from ._format import OWN, Line, decode_ack
from ._segment import Segment


class Index:
    """
    Know the unacknowledged lines of all segments by their ids.

    Args:
        identify: Returns the id of a line, or None when it is not a whole line.
        weigh: Returns what a line counts.
    """

    __slots__ = ("_places", "_weigh", "identify", "torn")

    def __init__(
        self, identify: Callable[[bytes], bytes | None], weigh: Callable[[bytes], int]
    ) -> None:
        self.identify = identify
        self.torn = 0
        self._weigh = weigh
        self._places: dict[bytes, tuple[Segment, int]] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def add(self, segment: Segment, key: bytes, line: bytes, end: int) -> None:
        """Take in a line of *segment* that ends at *end*."""
        self._places[key] = (segment, end)
        segment.left += 1
        segment.weight += self._weigh(line)

    def has(self, segment: Segment, line: Line) -> bool:
        """Return whether *line* is the one held under its id."""
        if line.data.startswith(OWN):
            return False
        key = self.identify(line.data)
        return key is not None and self._places.get(key) == (segment, line.end)

    def settle(self, segment: Segment, line: bytes) -> None:
        """Forget an acknowledged line. Idempotent."""
        key = self.identify(line)
        place = None if key is None else self._places.get(key)
        if key is not None and place is not None and place[0] is segment:
            del self._places[key]
            segment.left -= 1
            segment.weight -= self._weigh(line)

    def forget(self, segment: Segment) -> None:
        """Forget all lines of *segment*."""
        self._places = {key: at for key, at in self._places.items() if at[0] is not segment}
        segment.left = segment.weight = 0

    def clear(self) -> None:
        """Forget all lines of all segments."""
        self._places = {}

    def load(self, segment: Segment) -> None:
        """
        Find out what a segment that was taken over still holds.

        Raises:
            OSError: If it cannot be read; none of its lines counts then.
        """
        segment.offered = segment.size
        for line in segment.lines(0):
            segment.start = max(segment.start, decode_ack(line))
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
            elif key not in self._places:
                self.add(segment, key, line.data, line.end)
                segment.first = segment.first or line.data
