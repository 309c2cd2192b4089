"""
The journal of one process run: what must survive the process, in segments.

Rule 1: `append` takes no lock and waits for nobody.
Rule 2: `make_spare`, `sync`, `housekeep` and `close` are called by one thread at
a time, the keeper; everything else by any thread.
Rule 3: the oldest segment goes first. Acknowledgements stand in the segment that
was current when they came; one that is younger than a record may hold its. A record
that is moved to a younger segment leaves them behind, and with them the destinations
that it is acknowledged for.
Rule 4: a failed fdatasync is never tried again: the segment is given up, and its
live entries are written to a new one.

No ballast file is kept to be given up when the disk is full: the space of a
segment is reserved when it is made, and that of the next one with the spare, so
the last words have their room already.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..files import unlink_if_there
from ..position import Position
from ..system import SYSTEM, System
from ._contents import key_of
from ._rotation import JournalFull, Rotation
from .frames import DESTINATION, FrameKind, Scan, decode_record, encode_ack, encode_record
from .segment import Segment, SegmentFull

if TYPE_CHECKING:
    from .segment import Entry

__all__ = ["Journal", "JournalFull", "JournalStatistics"]

QUOTA: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 1024 * 1024
# Moving more than this share of a segment costs more than keeping it.
_MOVABLE_SHARE: Final = 4


class JournalStatistics(Struct, frozen=True):
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
        self._system = system
        self._rotation = Rotation(
            system,
            self.directory,
            app=app,
            run=run,
            destinations=destinations,
            quota=quota,
            segment_bytes=segment_bytes,
            positions=dict(positions or {}),
        )
        self._failures = 0
        self._poisoned = 0

    # What every thread may call.

    def append(self, key: bytes, tag: bytes, line: bytes, entry: Entry) -> Segment:
        """
        Write a record; it survives the death of the process on return.

        Args:
            key: The record's id.
            tag: The destinations that shall get it, joined by commas.
            line: The record, with its newline.
            entry: Kept until `settle`; gives tag and line when the record has
                to be written again. The tag must lack a destination by then for
                which `acknowledge` has been called.

        Returns:
            The segment that has it, for `settle`.

        Raises:
            JournalFull: If the quota is used up.
            OSError: If it could not be written, or the journal is closed.
        """
        frame = encode_record(tag, line)
        segment = self._rotation.current
        if segment is not None:
            try:
                segment.append(key, frame, entry)
            except SegmentFull:
                pass
            else:
                return segment
        return self._rotation.place(lambda s: s.append(key, frame, entry), len(frame), segment)

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
        if self._rotation.current is None:
            return
        for frame in encode_ack(destination, position, ids):
            self._rotation.place(partial(Segment.append_note, frame=frame), len(frame))
        if position is not None:
            # Not before: a new segment begins with these places, and recovery looks for
            # what is not acknowledged behind them only.
            self._rotation.positions[destination] = position

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
        for other in list(segment.moved):
            found |= self.fetch(other, wanted - found.keys())
        return found if segment.closed else found | _scan(segment, wanted - found.keys())

    def statistics(self) -> JournalStatistics:
        """Return the facts of this moment."""
        segments = self._rotation.segments()
        return JournalStatistics(
            segments=len(segments),
            bytes=self._rotation.size(),
            live=sum(len(segment.live) for segment in segments),
            failures=self._failures,
            poisoned=self._poisoned,
            quota=self.quota,
        )

    def live(self) -> list[Entry]:
        """Return the entries that nobody has settled yet."""
        return [entry for each in self._rotation.segments() for entry in each.live.copy().values()]

    # What the keeper calls.

    def make_spare(self) -> bool:
        """
        Have the next segment ready, so that no `append` has to make it.

        Returns:
            Whether one is ready; False before the first record, when the quota
            is reached or when it could not be made.
        """
        if self._rotation.current is None:
            return False
        try:
            return self._try(self._rotation.make_spare)
        except JournalFull:
            return False

    def sync(self) -> bool:
        """
        Put everything that was appended before the call on the disk.

        Returns:
            Whether it is there. False means that a disk refused; what could be
            saved has been written to a new segment and will be synced by the
            next call.
        """
        # First, because what is rescued has to be synced with the rest.
        poisoned = [segment for segment in self._rotation.segments() if segment.poisoned]
        good = sum(map(self._rescue, poisoned)) == len(poisoned)
        for segment in self._rotation.segments():
            if not segment.poisoned and not self._try(segment.sync):
                self._poisoned += 1
                self._rescue(segment)
                good = False
        if self._rotation.unsynced_names and good:
            self._rotation.unsynced_names = False
            good = self._try(partial(self._system.sync_directory, self.directory))
            self._rotation.unsynced_names |= not good
        return good

    def _rescue(self, segment: Segment) -> bool:
        """Write the live entries of *segment* elsewhere; return whether all are."""
        try:
            self._move(segment)
        except (OSError, JournalFull):
            self._failures += 1
            return False
        return True

    def _move(self, source: Segment) -> None:
        live = [(key, entry, entry.line) for key, entry in list(source.live.items())]
        written = _scan(source, {key for key, _, line in live if not line})
        for key, entry, kept in live:
            wanted, line = entry.tag, kept or written.get(key)
            if not wanted:
                source.live.pop(key, None)
                continue
            if line is None:
                # Neither memory nor disk has it: there is nothing left to save.
                self._failures += 1
                continue
            frame = encode_record(wanted, line)
            put = partial(_take_in, source=source, key=key, frame=frame, entry=entry)
            target = self._rotation.place(put, len(frame), source)
            if source.live.pop(key, None) is None:
                # Settled while it was being moved.
                target.live.pop(key, None)
            # Acknowledged while it was being moved, maybe in a segment that goes before.
            for name in {*wanted.split(b",")}.difference(entry.tag.split(b",")):
                self.acknowledge(name.decode(), None, [key])

    @property
    def removable(self) -> bool:
        """Whether `housekeep` would remove something: a full segment is settled everywhere."""
        return any(not segment.live for segment in self._rotation.sealed())

    def housekeep(self) -> int:
        """
        Remove the segments that nobody needs any more, the oldest first.

        A few entries that keep newer, empty segments from going are moved.

        Returns:
            How many files were removed.
        """
        removed = 0
        for segment in self._rotation.sealed():
            if segment.live and not (self._is_in_the_way(segment) and self._rescue(segment)):
                break
            if not segment.claim():
                break
            if not self._try(partial(unlink_if_there, self._system, segment.path)):
                break
            self._try(partial(self._rotation.discard, segment))
            removed += 1
        return removed

    def _is_in_the_way(self, segment: Segment) -> bool:
        if all(other.live or other is segment for other in self._rotation.sealed()):
            return False
        live = list(segment.live.values())
        size = sum(len(entry.line or b"") + len(entry.tag) for entry in live)
        return size <= self._rotation.segment_bytes // _MOVABLE_SHARE

    def close(self, clean: bool) -> None:
        """
        Let go of all segments; later appends raise OSError. Idempotent.

        Args:
            clean: Remove the files, because every record is settled. False
                leaves them for the next start to adopt.
        """
        segments = self._rotation.close()
        # As for `housekeep`: without the oldest no younger one may go.
        removed = clean and all(
            self._try(partial(unlink_if_there, self._system, segment.path)) for segment in segments
        )
        for segment in segments:
            self._try(partial(self._rotation.discard, segment))
        if removed and segments:
            self._try(partial(self._system.sync_directory, self.directory))

    def abandon(self) -> None:
        """Let go of what a forked child inherited, and touch nothing on the disk."""
        self.close(clean=False)

    def _try(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except OSError:
            self._failures += 1
            return False
        return True


def _take_in(target: Segment, *, source: Segment, key: bytes, frame: bytes, entry: Entry) -> None:
    # Known to the source before it has the key, so that no `settle` misses it.
    if target not in source.moved:
        source.moved.append(target)
    target.append(key, frame, entry)


def _scan(segment: Segment, wanted: set[bytes]) -> dict[bytes, bytes]:
    """Return the lines of *segment* that have one of the ids *wanted*."""
    found: dict[bytes, bytes] = {}
    if not wanted:
        return found
    for frame in Scan(segment.read, segment.position()):
        record = decode_record(frame.payload) if frame.kind is FrameKind.RECORD else None
        key = None if record is None else key_of(record[1])
        if record is not None and key in wanted:
            found[key] = record[1]
    return found
