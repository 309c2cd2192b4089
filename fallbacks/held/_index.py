"""
The index: which ids are held, and by which segment. No I/O but through a segment.

Rule 1: an id is held once. Of two lines with the same id, the one that came
first counts, and the other one is passed over wherever it stands.
Rule 2: where in its segment a line stands is not remembered but read. Ids that
end in `-<n>` are kept as intervals for each beginning, all others singly;
`pieces` counts both, and is what the memory grows with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ._format import OWN, Line, decode_ack
from ._segment import Segment
from ._spans import Spans

# More digits than any counter has; and text to number takes long for very long text.
_DIGITS: Final = 18


class Index:
    """
    Know the unacknowledged lines of all segments by their ids.

    Args:
        identify: Returns the id of a line, or None when it is not a whole line.
        weigh: Returns what a line counts.
    """

    __slots__ = ("_singles", "_streams", "_weigh", "identify", "pieces", "torn")

    def __init__(
        self, identify: Callable[[bytes], bytes | None], weigh: Callable[[bytes], int]
    ) -> None:
        self.identify = identify
        self.torn = 0
        self.pieces = 0
        self._weigh = weigh
        self._streams: dict[bytes, Spans] = {}
        self._singles: dict[bytes, Segment] = {}

    def __contains__(self, key: bytes) -> bool:
        return self._find(key) is not None

    def add(self, segment: Segment, key: bytes, line: bytes) -> None:
        """Take in a line of *segment* whose id nobody holds."""
        stream, number = _split(key)
        if number is None:
            self._singles[key] = segment
            self.pieces += 1
        else:
            spans = self._streams.get(stream)
            if spans is None:
                spans = self._streams[stream] = Spans()
            before = len(spans)
            spans.add(number, segment)
            self.pieces += len(spans) - before
        segment.left += 1
        segment.weight += self._weigh(line)

    def key_of(self, segment: Segment, line: Line) -> bytes | None:
        """Return the id of *line* if *segment* holds it; None for every other line."""
        if line.data.startswith(OWN):
            return None
        key = self.identify(line.data)
        return key if key is not None and self._find(key) is segment else None

    def settle(self, segment: Segment, line: bytes) -> None:
        """Forget an acknowledged line. Idempotent."""
        key = self.identify(line)
        if key is None or self._find(key) is not segment:
            return
        stream, number = _split(key)
        if number is None:
            del self._singles[key]
            self.pieces -= 1
        else:
            spans = self._streams[stream]
            before = len(spans)
            spans.remove(number)
            self.pieces += len(spans) - before
            if not spans:
                del self._streams[stream]
        segment.left -= 1
        segment.weight -= self._weigh(line)

    def forget(self, segment: Segment) -> None:
        """Forget all lines of *segment*."""
        self._singles = {key: at for key, at in self._singles.items() if at is not segment}
        for spans in self._streams.values():
            spans.forget(segment)
        self._streams = {stream: spans for stream, spans in self._streams.items() if spans}
        self.pieces = len(self._singles) + sum(map(len, self._streams.values()))
        segment.left = segment.weight = 0

    def clear(self) -> None:
        """Forget all lines of all segments."""
        self._streams, self._singles, self.pieces = {}, {}, 0

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

    def _find(self, key: bytes) -> Segment | None:
        stream, number = _split(key)
        if number is None:
            return self._singles.get(key)
        spans = self._streams.get(stream)
        return None if spans is None else spans.find(number)


def _split(key: bytes) -> tuple[bytes, int | None]:
    """Return what *key* begins with and the number behind its last dash, if it ends in one."""
    stream, dash, digits = key.rpartition(b"-")
    # As it would be written: of 7 and 07 only one is the number 7.
    if not dash or not digits.isdigit() or len(digits) > _DIGITS or digits[:1] == b"0":
        return key, None
    return stream, int(digits)
