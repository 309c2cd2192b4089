"""
A held segment: one file of lines, locked by this process.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from ..files import write_all
from ..position import Position
from ..system import System
from ._format import Line, encode_ack, split_lines


class Segment(Struct, eq=False):
    """
    A file with its lines, and how far they are offered and acknowledged, in bytes.

    `offered` says up to where the destination may have been given lines, in this
    life or an earlier one. `left` and `weight` are of the unacknowledged lines.
    """

    system: System
    path: str
    fd: int
    run: str
    scan: Position | None
    size: int
    start: int = 0
    offered: int = 0
    left: int = 0
    weight: int = 0
    torn_tail: bool = False
    first: bytes = b""
    """The first unacknowledged line when the file was taken over."""

    def append(self, data: bytes) -> tuple[int, OSError | None]:
        """
        Append *data*; after a torn line it begins on a line of its own.

        Returns:
            Where it begins, and the error that cut it short, if one did; `size`
            says how much of it is there.
        """
        whole = b"\n" + data if self.torn_tail else data
        begin = self.size + len(whole) - len(data)
        written, error = write_all(self.system, self.fd, whole)
        self.size += written
        if written:
            self.torn_tail = whole[written - 1 : written] != b"\n"
        return begin, error

    def acknowledge(self, offset: int) -> OSError | None:
        """Note that everything before *offset* is acknowledged; return the error, if it fails."""
        self.start = offset
        _, error = self.append(encode_ack(offset))
        return error

    def lines(self, start: int) -> Iterator[Line]:
        """
        Yield what stands between *start* and the end, torn lines as empty ones.

        Raises:
            OSError: If the file cannot be read.
        """
        return split_lines(self._read, start, self.size)

    def is_line_end(self, offset: int) -> bool:
        """
        Return whether a line ends at *offset*, be it torn and its newline the next byte.

        Raises:
            OSError: If the file cannot be read.
        """
        return b"\n" in self._read(offset - 1, offset + 1)

    def _read(self, start: int, stop: int) -> bytes:
        return self.system.pread(self.fd, stop - start, start)
