"""
The journal of one process run: what must survive the process, in segments.

Rule 1: `append` takes no lock and waits for nobody; a new segment becomes
current by one assignment. Two threads may make one at once; both are kept.
Rule 2: `make_spare`, `sync`, `housekeep` and `close` are called by one thread at
a time, the keeper; everything else by any thread.
Rule 3: the oldest segment goes first. Acknowledgements stand in the segment that
was current when they came; one that is younger than a record may hold its.
Rule 4: a failed fdatasync is never tried again: the segment is given up, and its
live entries are written to a new one.
"""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from ..position import Position
from ..system import (
    PRIVATE_DIRECTORY,
    SYSTEM,
    System,
    is_private,
    unlink_if_there,
)
from .frames import (
    DESTINATION,
    LONGEST,
    FrameKind,
    Header,
    Scan,
    decode_record,
    encode_ack,
    encode_header,
    encode_place,
    encode_record,
)
from .segment import Segment, SegmentFull, create_segment

if TYPE_CHECKING:
    from .segment import Entry

QUOTA: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 1024 * 1024
_ATTEMPTS: Final = 8
# Moving more than this share of a segment costs more than keeping it.
_MOVABLE_SHARE: Final = 4
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class JournalFull(Exception):
    """The quota is used up by segments that still hold unsettled records."""


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """The journal at one moment, derived from what it holds."""

    segments: int
    """Segment files of this run."""
    bytes: int
    """Bytes that these files may grow to or have reserved."""
    live: int
    """Unsettled entries."""
    failures: int
    """Failed system calls of the keeper so far."""
    poisoned: int
    """Segments given up after a failed fdatasync so far."""
    quota: int
    """Bytes that the segments may have together."""


def safe_name(app: str) -> str:
    """Return *app* as it appears in file names."""
    return _UNSAFE.sub("_", app).lstrip(".") or "_"


class Journal:
    """
    Keep records in the kernel until every destination has acknowledged them.

    Nothing is created before the first `append`.

    Args:
        directory: Where the segments are; made with mode 0700 when missing.
        app: The application; only it adopts the segments later.
        run: The id of this process run.
        destinations: The names of all destinations.
        quota: Bytes that all segments together may have.
        segment_bytes: Bytes of one segment.
        positions: How far the destinations' files reached when the run began;
            recovery need not look for this run's lines before that.
        system: Where the files are.

    Raises:
        ValueError: If a destination's name cannot stand in a frame.
    """

    def __init__(
        self,
        directory: str,
        *,
        app: str,
        run: str,
        destinations: Sequence[str],
        quota: int = QUOTA,
        segment_bytes: int = SEGMENT_BYTES,
        positions: Mapping[str, Position] | None = None,
        system: System = SYSTEM,
    ) -> None:
        for name in destinations:
            if not DESTINATION.match(name):
                raise ValueError(
                    f"a destination's name has 1 to 64 of A-Z a-z 0-9 _ . -, not {name!r}"
                )
        self.directory = os.path.abspath(directory)
        self.quota = quota
        self._app = app
        self._run = run
        self._destinations = tuple(destinations)
        self._segment_bytes = segment_bytes
        self._positions = dict(positions or {})
        self._system = system
        self._segments: dict[int, Segment] = {}
        self._current: Segment | None = None
        self._spares: deque[Segment] = deque()
        self._numbers = count(1)
        self._ready = False
        self._closed = False
        self._unsynced_names = False
        self._failures = 0
        self._poisoned = 0

    def append(self, key: bytes, tag: bytes, line: bytes, entry: Entry) -> Segment:
        """
        Write a record; it survives the death of the process on return.

        Args:
            key: The record's id.
            tag: The destinations that shall get it, joined by commas.
            line: The record, with its newline.
            entry: Kept until `settle`; gives tag and line when the record has
                to be written again.

        Returns:
            The segment that has it, for `settle`.

        Raises:
            JournalFull: If the quota is used up.
            OSError: If it could not be written, or the journal is closed.
        """
        frame = encode_record(tag, line)
        segment = self._current
        if segment is not None:
            try:
                segment.append(key, frame, entry)
            except SegmentFull:
                pass
            else:
                return segment
        for _ in range(_ATTEMPTS):
            segment = self._next(segment, len(frame))
            try:
                segment.append(key, frame, entry)
            except SegmentFull:
                continue
            return segment
        raise OSError(errno.EAGAIN, "no segment of the journal stayed open for this record")

    def _next(self, full: Segment | None, size: int) -> Segment:
        """Make current, and return, a segment other than *full*."""
        if self._closed:
            raise OSError(errno.EBADF, "the journal is closed")
        current = self._current
        if current is not None and current is not full:
            return current
        try:
            segment = self._spares.popleft()
        except IndexError:
            segment = self._create(size)
        self._current = segment
        return segment

    def _create(self, size: int = 0) -> Segment:
        if size > LONGEST:
            raise OSError(errno.EMSGSIZE, f"a record of {size} bytes is too long for the journal")
        system = self._system
        if not self._ready:
            system.makedirs(self.directory, PRIVATE_DIRECTORY)
            if not is_private(system, self.directory):
                raise OSError(
                    errno.EPERM, "others can write to the journal's directory", self.directory
                )
            self._ready = True
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._create_one(size)
            except FileExistsError:
                continue
            except FileNotFoundError:
                # Somebody removed the directory under us.
                system.makedirs(self.directory, PRIVATE_DIRECTORY)
        return self._create_one(size)

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
            encode_place(name, place) for name, place in self._positions.copy().items()
        )
        capacity = max(self._segment_bytes, size + len(frame))
        if self._bytes() + capacity > self.quota:
            raise JournalFull(
                f"the journal's quota of {self.quota} bytes is used up by unsettled records"
            )
        boot = header.boot.replace("-", "")[:8] or "00000000"
        name = (
            f"{safe_name(self._app)}.{boot}.{header.pid}.{system.process_start()}"
            f".{self._run}.{number}.j"
        )
        path = os.path.join(self.directory, name)
        segment = create_segment(system, path, number, frame, capacity)
        self._segments[number] = segment
        self._unsynced_names = True
        return segment

    def _bytes(self) -> int:
        return sum(segment.capacity for segment in list(self._segments.values()))

    def make_spare(self) -> bool:
        """
        Have the next segment ready, so that no `append` has to make it.

        Returns:
            Whether one is ready; False before the first record, when the quota
            is reached or when it could not be made.
        """
        if self._closed or self._current is None:
            return False
        if self._spares:
            return True
        try:
            self._spares.append(self._create())
        except JournalFull:
            return False
        except OSError:
            self._failures += 1
            return False
        return True

    def acknowledge(
        self, destination: str, position: Position | None, ids: Iterable[bytes]
    ) -> None:
        """
        Note that the records *ids* are at *destination*.

        Args:
            destination: Its name.
            position: How far its file reaches now; None when it has no file.
            ids: The ids of the records, `<run>.<stream>-<n>`.

        Raises:
            JournalFull: If a new segment was needed and the quota is used up.
            OSError: If it could not be written.
        """
        if self._current is None:
            return
        if position is not None:
            self._positions[destination] = position
        for frame in encode_ack(destination, position, ids):
            self._append_note(frame)

    def _append_note(self, frame: bytes) -> None:
        segment = self._current
        for _ in range(_ATTEMPTS):
            if segment is not None:
                try:
                    segment.append_note(frame)
                except SegmentFull:
                    pass
                else:
                    return
            segment = self._next(segment, len(frame))
        raise OSError(errno.EAGAIN, "no segment of the journal stayed open for this note")

    @staticmethod
    def settle(segment: Segment, key: bytes) -> None:
        """Forget a record that `append` put into *segment*. Idempotent."""
        segment.settle(key)

    def fetch(self, segment: Segment, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """
        Read records of this run back.

        Args:
            segment: The one that `append` returned.
            keys: The ids of the records.

        Returns:
            The lines that were found, by id.

        Raises:
            OSError: If the file cannot be read.
        """
        wanted = set(keys)
        found: dict[bytes, bytes] = {}
        for other in [*segment.moved, segment]:
            if not wanted or other.closed:
                continue
            if other is not segment:
                fetched = self.fetch(other, wanted)
            else:
                fetched = self._scan(segment, wanted)
            found.update(fetched)
            wanted -= fetched.keys()
        return found

    @staticmethod
    def _scan(segment: Segment, wanted: set[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for frame in Scan(segment.read, segment.position()):
            record = decode_record(frame.payload) if frame.kind is FrameKind.RECORD else None
            if record is not None:
                key = key_of(record[1])
                if key in wanted:
                    found[key] = record[1]
        return found

    def sync(self) -> bool:
        """
        Put everything that was appended before the call on the disk.

        Returns:
            Whether it is there. False means that a disk refused; what could be
            saved has been written to a new segment and will be synced by the
            next call.
        """
        good = True
        # First, because what is rescued has to be synced with the rest.
        for segment in list(self._segments.values()):
            if segment.poisoned:
                good = self._rescue(segment) and good
        for segment in list(self._segments.values()):
            if segment.poisoned:
                continue
            try:
                segment.sync()
            except OSError:
                self._failures += 1
                self._poisoned += 1
                self._rescue(segment)
                good = False
        if self._unsynced_names and good:
            self._unsynced_names = False
            try:
                self._system.sync_directory(self.directory)
            except OSError:
                self._unsynced_names = True
                self._failures += 1
                good = False
        return good

    def _rescue(self, segment: Segment) -> bool:
        """Write the live entries of *segment* elsewhere; return whether all are."""
        try:
            if segment is self._current:
                self._next(segment, 0)
            self._move(segment)
        except (OSError, JournalFull):
            self._failures += 1
            return False
        return True

    def _move(self, segment: Segment) -> None:
        for key, entry in list(segment.live.items()):
            line = entry.line or self._scan(segment, {key}).get(key)
            if line is None:
                # Neither memory nor disk has it: there is nothing left to save.
                self._failures += 1
                continue
            frame = encode_record(entry.tag, line)
            target = self._take_in(segment, key, frame, entry)
            if segment.live.pop(key, None) is None:
                # Settled while it was being moved.
                target.live.pop(key, None)

    def _take_in(self, source: Segment, key: bytes, frame: bytes, entry: Entry) -> Segment:
        target = self._current
        for _ in range(_ATTEMPTS):
            if target is not None and target is not source:
                # Known to the source before it has the key, so that no `settle` misses it.
                if target not in source.moved:
                    source.moved.append(target)
                try:
                    target.append(key, frame, entry)
                except SegmentFull:
                    pass
                else:
                    return target
            target = self._next(target, len(frame))
        raise OSError(errno.EAGAIN, "no segment of the journal stayed open for a move")

    def housekeep(self) -> int:
        """
        Remove the segments that nobody needs any more, the oldest first.

        A few entries that keep newer, empty segments from going are moved.

        Returns:
            How many files were removed.
        """
        removed = 0
        for segment in self._sealed():
            if segment.live and not (self._is_in_the_way(segment) and self._rescue(segment)):
                break
            if not segment.claim():
                break
            try:
                unlink_if_there(self._system, segment.path)
            except OSError:
                self._failures += 1
                segment.released = False
                break
            self._discard(segment)
            removed += 1
        return removed

    def _sealed(self) -> list[Segment]:
        spares = list(self._spares)
        return [
            segment
            for _, segment in sorted(self._segments.copy().items())
            if segment is not self._current and segment not in spares
        ]

    def _is_in_the_way(self, segment: Segment) -> bool:
        if not any(not other.live and other is not segment for other in self._sealed()):
            return False
        live = list(segment.live.values())
        size = sum(len(entry.line or b"") + len(entry.tag) for entry in live)
        return size <= self._segment_bytes // _MOVABLE_SHARE

    def _discard(self, segment: Segment) -> None:
        self._segments.pop(segment.number, None)
        try:
            segment.close()
        except OSError:
            self._failures += 1

    def close(self, clean: bool) -> None:
        """
        Let go of all segments; later appends raise OSError. Idempotent.

        Args:
            clean: Remove the files, because every record is settled. False
                leaves them for the next start to adopt.
        """
        self._closed = True
        segments = list(self._segments.values())
        for segment in segments:
            segment.released = True
            if clean:
                try:
                    unlink_if_there(self._system, segment.path)
                except OSError:
                    self._failures += 1
            self._discard(segment)
        self._current = None
        self._spares.clear()
        if clean and segments:
            try:
                self._system.sync_directory(self.directory)
            except OSError:
                self._failures += 1

    def abandon(self) -> None:
        """Let go of what a forked child inherited, and touch nothing on the disk."""
        self.close(clean=False)

    def statistics(self) -> JournalStatistics:
        """Return the facts of this moment."""
        segments = list(self._segments.values())
        return JournalStatistics(
            segments=len(segments),
            bytes=sum(segment.capacity for segment in segments),
            live=sum(len(segment.live) for segment in segments),
            failures=self._failures,
            poisoned=self._poisoned,
            quota=self.quota,
        )


def key_of(line: bytes) -> bytes | None:
    """Return the id of a line whose last key is `id`; None if it has none."""
    start = line.rfind(b',"id":"')
    stop = line.find(b'"', start + 7)
    return line[start + 7 : stop] if start >= 0 and stop >= 0 else None
