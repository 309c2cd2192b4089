"""
Rotation: which segment is written to, which is ready to follow, and which exist.

Rule 1: a new segment becomes current by one assignment. Two threads may make
one at once; both are kept.
Rule 2: the quota counts whole segments, because their space is reserved.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from ..files import is_private, unlink_if_there
from ..position import Position
from ..system import PRIVATE_DIRECTORY, System
from ._names import SegmentName, safe_name, short_boot
from .frames import LONGEST, Header, encode_header, encode_place
from .segment import Segment, SegmentFull, create_segment

_ATTEMPTS: Final = 8


class JournalFull(Exception):
    """The quota is used up by segments that still hold unsettled records."""


class Rotation:
    """
    The segments of one run.

    `unsynced_names` says that one was made since it was last set to False.

    Args:
        system: Where the files are.
        directory: The directory; made with mode 0700 when missing.
        app: The application.
        run: The id of this process run.
        destinations: The names of all destinations.
        quota: Bytes that all segments together may have.
        segment_bytes: Bytes of one segment; a longer frame gets a larger one.
        positions: How far the destinations' files are known to reach, by name.
    """

    __slots__ = (
        "_app",
        "_destinations",
        "_directory",
        "_numbers",
        "_quota",
        "_run",
        "_segments",
        "_spares",
        "_system",
        "closed",
        "current",
        "positions",
        "segment_bytes",
        "unsynced_names",
    )

    def __init__(
        self,
        system: System,
        directory: str,
        *,
        app: str,
        run: str,
        destinations: Sequence[str],
        quota: int,
        segment_bytes: int,
        positions: dict[str, Position],
    ) -> None:
        self._system = system
        self._directory = directory
        self._app = app
        self._run = run
        self._destinations = tuple(destinations)
        self._quota = quota
        self.segment_bytes = segment_bytes
        self.positions = positions
        self._numbers = count(1)
        self._segments: dict[int, Segment] = {}
        self._spares: deque[Segment] = deque()
        self.current: Segment | None = None
        self.unsynced_names = False
        self.closed = False

    def segments(self) -> list[Segment]:
        """Return all segments, the oldest first."""
        return [segment for _, segment in sorted(self._segments.copy().items())]

    def sealed(self) -> list[Segment]:
        """Return those that nothing more goes into, the oldest first."""
        spares = list(self._spares)
        return [s for s in self.segments() if s is not self.current and s not in spares]

    def size(self) -> int:
        """Return the bytes that the segments may grow to or have reserved."""
        return sum(segment.capacity for segment in self.segments())

    def place(
        self, put: Callable[[Segment], None], size: int, avoid: Segment | None = None
    ) -> Segment:
        """
        Have *put* write a frame into the current segment, or the next while that is full.

        Args:
            put: Writes; raises SegmentFull to be sent on.
            size: Bytes of the frame.
            avoid: A segment that must not get it.

        Returns:
            The segment that has it.

        Raises:
            JournalFull: If the quota is used up.
            OSError: If it could not be written, or all is closed.
        """
        segment = avoid
        for _ in range(_ATTEMPTS):
            segment = self.next(segment, size)
            try:
                put(segment)
            except SegmentFull:
                continue
            return segment
        raise OSError(errno.EAGAIN, "no segment of the journal stayed open for this frame")

    def next(self, full: Segment | None, size: int = 0) -> Segment:
        """Make current, and return, a segment other than *full*; raises as `place` does."""
        if self.closed:
            raise OSError(errno.EBADF, "the journal is closed")
        current = self.current
        if current is not None and current is not full:
            return current
        try:
            segment = self._spares.popleft()
        except IndexError:
            segment = self._create(size)
        self.current = segment
        return segment

    def make_spare(self) -> None:
        """Have a segment ready for `next`; raises as `place` does."""
        if not self._spares:
            self._spares.append(self._create(0))

    def _create(self, size: int) -> Segment:
        if size > LONGEST:
            raise OSError(errno.EMSGSIZE, f"a record of {size} bytes is too long for the journal")
        refused: OSError | None = None
        for _ in range(_ATTEMPTS):
            self._system.makedirs(self._directory, PRIVATE_DIRECTORY)
            if not is_private(self._system, self._directory):
                raise OSError(
                    errno.EPERM, "others can write to the journal's directory", self._directory
                )
            try:
                return self._create_one(size)
            except (FileExistsError, FileNotFoundError) as error:
                # The name is taken, or somebody removed the directory under us.
                refused = error
        assert refused is not None
        raise refused

    def _create_one(self, size: int) -> Segment:
        system = self._system
        number = next(self._numbers)
        header = Header(
            app=self._app,
            uid=system.getuid(),
            boot=system.boot_id(),
            pidns=system.pid_namespace(),
            pid=system.getpid(),
            run=self._run,
            segment=number,
            destinations=self._destinations,
        )
        # Each segment says where to look, because those before it may be gone; an
        # older position is as good as a newer one, only farther from the end.
        frame = encode_header(header) + b"".join(
            encode_place(name, place) for name, place in self.positions.copy().items()
        )
        capacity = max(self.segment_bytes, size + len(frame))
        if self.size() + capacity > self._quota:
            raise JournalFull(
                f"the journal's quota of {self._quota} bytes is used up by unsettled records"
            )
        name = SegmentName(
            app=safe_name(self._app),
            boot=short_boot(header.boot),
            pid=header.pid,
            start=system.process_start(),
            run=self._run,
            number=number,
        )
        path = os.path.join(self._directory, str(name))
        segment = create_segment(system, path, number, frame, capacity)
        self._segments[number] = segment
        if self.closed:
            # Closed while it was being made: whoever closed has not seen it.
            with suppress(OSError):
                unlink_if_there(system, path)
            with suppress(OSError):
                self.discard(segment)
            raise OSError(errno.EBADF, "the journal is closed")
        self.unsynced_names = True
        return segment

    def discard(self, segment: Segment) -> None:
        """
        Let go of *segment*; its file is the caller's business.

        Raises:
            OSError: If closing failed; it is let go of all the same.
        """
        self._segments.pop(segment.number, None)
        segment.close()

    def close(self) -> list[Segment]:
        """Let nothing more be written; return what there was, the oldest first. Idempotent."""
        self.closed = True
        segments = self.segments()
        for segment in segments:
            segment.released = True
        self.current = None
        self._spares.clear()
        return segments
