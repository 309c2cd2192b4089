"""
The held store: a fallback file that gives back what it was given, once.

Rule 1: a line counts as held when the kernel has it, and until an
acknowledgement of its chunk; then its space goes, and in the end its file.
Rule 2: a line that cannot be identified is never taken, because it could not be
told from a torn one when it is read back.
Rule 3: an id is held once. Memory for this is bounded by the quota: one entry
for each unacknowledged line.
Rule 4: one lock orders writing, reading and acknowledging, since a late write
and a replay may meet here. `abandon` does not take it: after a fork its owner
may not exist.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ..outcomes import DELIVERED, Outcome, Partial, Permanent, Retryable
from ..position import Position
from ..system import SYSTEM, System
from ..tier import Kind
from ._directory import Directory
from ._facts import Chunk, HeldStatistics
from ._format import IMPORTED, number_in_name
from ._index import Index
from ._segment import Segment

QUOTA: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 4 * 1024 * 1024
_LOCK_PATIENCE: Final = 1.0


class HeldStore:
    """
    A holding tier and its reader: segments of lines next to each other in a directory.

    Args:
        prefix: Path and beginning of the file names, such as
            `/var/tmp/shop.fallback`; missing directories are made with mode 0700.
        app: The application; only it adopts the files later.
        destination: The destination that the lines are for.
        run: The id of this process run.
        quota: Bytes that all files together may have; at the quota nothing
            more is taken.
        segment_bytes: Bytes after which a new file is begun.
        identify: Returns the id of a line, or None when it is not a whole line.
        weigh: Returns what a line counts in `held`.
        system: Where the files are.
        name: The name in statistics and receipts.
        scan: Asked when a file is begun: how far the destination's file reaches.
    """

    def __init__(
        self,
        prefix: str,
        *,
        app: str,
        destination: str,
        run: str,
        quota: int = QUOTA,
        segment_bytes: int = SEGMENT_BYTES,
        identify: Callable[[bytes], bytes | None],
        weigh: Callable[[bytes], int],
        system: System = SYSTEM,
        name: str = "fallback",
        scan: Callable[[], Position | None] = lambda: None,
    ) -> None:
        self.name = name
        self.kind = Kind.HOLDING
        self._directory = Directory(system, prefix, app=app, destination=destination)
        self._index = Index(identify, weigh)
        self._run = run
        self._quota = quota
        self._segment_bytes = segment_bytes
        self._identify = identify
        self._scan = scan
        self._lock = allocate_lock()
        self._segments: list[Segment] = []
        self._current: Segment | None = None
        self._number = 0
        self._left_behind = 0

    # Writing.

    def write(self, batch: Iterable[bytes]) -> Outcome:
        """
        Take lines; the kernel has them on return.

        A line whose id is held already counts as taken. At the quota, on a full
        disk or on any other error the lines behind the last whole one are
        retryable; lines without an id are refused for good.
        """
        lines = batch if isinstance(batch, Sequence) else list(batch)
        keys = [self._identify(line) for line in lines]
        with self._lock:
            return self._write(lines, keys)

    def _write(self, lines: Sequence[bytes], keys: list[bytes | None]) -> Outcome:
        fresh: dict[bytes, bytes] = {}
        for key, line in zip(keys, lines, strict=True):
            if key is not None and key not in self._index:
                fresh.setdefault(key, line)
        error = self._append(fresh) if fresh else None
        taken = [at for at, key in enumerate(keys) if key is not None and key in self._index]
        if len(taken) == len(lines):
            return DELIVERED
        rest = (
            Permanent("a line without an id could not be told from a torn one")
            if error is None
            else Retryable(error)
        )
        return Partial(taken, rest) if taken else rest

    def _append(self, fresh: dict[bytes, bytes]) -> OSError | str | None:
        """Write lines and index those that are there whole; return what stopped it."""
        # One byte more for the newline that may have to end a torn line.
        room = self._quota - self._bytes() - 1
        fits: list[bytes] = []
        for line in fresh.values():
            room -= len(line)
            if room < 0:
                break
            fits.append(line)
        over = f"the quota of {self._quota} bytes for held lines is used up"
        if not fits:
            return over
        try:
            segment = self._writable()
        except OSError as failure:
            return failure
        end, error = segment.append(b"".join(fits))
        for key, line in zip(fresh, fits, strict=False):
            end += len(line)
            if end > segment.size:
                break
            self._index.add(segment, key, line, end)
        if error is not None:
            self._retire_if_finished(segment)
            return error
        return over if len(fits) < len(fresh) else None

    def _writable(self) -> Segment:
        current = self._current
        if current is None or current.size >= self._segment_bytes:
            self._number += 1
            current = self._directory.make(self._run, str(self._number), self._scan())
            self._segments.append(current)
            self._current = current
        return current

    def _bytes(self) -> int:
        return sum(segment.size for segment in list(self._segments))

    # Reading.

    @property
    def held(self) -> int:
        """Weight of the lines that are not acknowledged."""
        return self._left_behind + self._weight()

    @property
    def waiting(self) -> bool:
        """Whether there are lines to be given back, those that weigh nothing included."""
        return any(segment.left for segment in list(self._segments))

    def _weight(self) -> int:
        return sum(segment.weight for segment in list(self._segments))

    def statistics(self) -> HeldStatistics:
        """Return the facts of this moment."""
        return HeldStatistics(
            segments=len(self._segments),
            bytes=self._bytes(),
            held=self.held,
            torn=self._index.torn,
            refused=self._directory.refused,
            failures=self._directory.failures,
        )

    def lines(self, limit: int, max_bytes: int) -> Chunk | None:
        """
        Return the oldest unacknowledged lines of the oldest file; the same ones until acknowledged.

        Args:
            limit: How many lines at most.
            max_bytes: Bytes of lines at most; a single longer line comes alone.

        Returns:
            None when nothing is held, or when a write that hangs keeps the store.

        Raises:
            OSError: If the file cannot be read.
        """
        if not self._lock.acquire(timeout=_LOCK_PATIENCE):
            return None
        try:
            for segment in list(self._segments):
                chunk = self._chunk(segment, max(1, limit), max_bytes)
                if chunk is not None:
                    return chunk
                self._retire_if_finished(segment)
            return None
        finally:
            self._lock.release()

    def _chunk(self, segment: Segment, limit: int, max_bytes: int) -> Chunk | None:
        if not segment.left:
            return None
        lines: list[bytes] = []
        end = segment.start
        for line in segment.lines(segment.start):
            if self._index.has(segment, line):
                max_bytes -= len(line.data)
                if lines and max_bytes < 0:
                    break
                lines.append(line.data)
            end = line.end
            if len(lines) == limit:
                break
        if not lines:
            # The file lost lines behind our back; what is gone cannot be replayed.
            self._index.torn += segment.left
            self._index.forget(segment)
            return None
        suspect = segment.start < segment.offered
        segment.offered = max(segment.offered, end)
        return Chunk(lines, segment.path, end, suspect, segment.scan, segment.run)

    def acknowledge(self, chunk: Chunk) -> None:
        """
        Give up the lines of *chunk*: the destination has them.

        An error is counted and does no harm but that they may come again after a
        restart, marked suspect. A file without unacknowledged lines is removed.
        """
        with self._lock:
            segment = next((s for s in self._segments if s.path == chunk.segment), None)
            if segment is None or chunk.end <= segment.start:
                return
            for line in chunk.lines:
                self._index.settle(segment, line)
            if segment.acknowledge(chunk.end) is not None:
                self._directory.failures += 1
            self._retire_if_finished(segment)

    def _retire_if_finished(self, segment: Segment) -> None:
        if not segment.left and self._directory.remove(segment):
            self._segments.remove(segment)
            if segment is self._current:
                self._current = None

    # What others left.

    def adopt(self) -> int:
        """
        Take over the files that dead processes left for this destination.

        Files of another user, of a newer version or in a directory that others
        can write to are left alone and counted; those of the living too.

        Returns:
            The weight of the lines taken over.
        """
        with self._lock:
            found = self._directory.take_over_all({segment.path for segment in self._segments})
            if found is None:
                return 0
            before = self._weight()
            loaded = _by_age([segment for segment in found if self._load(segment)])
            self._segments[:0] = loaded
            self._left_behind = 0
            for segment in loaded:
                self._retire_if_finished(segment)
            return self._weight() - before

    def _load(self, segment: Segment) -> bool:
        try:
            self._index.load(segment)
        except OSError:
            self._directory.failures += 1
            self._directory.let_go(segment)
            return False
        return True

    def import_lines(self, run: str, lines: Iterable[bytes], scan: Position | None) -> int:
        """
        Take lines recovered from elsewhere, all or none; doing it again adds nothing.

        The quota does not count here: the lines exist already and only change
        their place. They are on the disk on return. What an earlier import of
        the run left without an owner is taken over on the way.

        Args:
            run: The run that logged them.
            lines: The lines, with their newlines.
            scan: From where the destination's file may have some of them.

        Returns:
            The weight of the lines that are new here.

        Raises:
            OSError: If they could not be stored; nothing of them is then.
        """
        with self._lock:
            earlier = self._directory.imports(run)
            # Acknowledged or not: what has been delivered must not come again.
            known = {
                self._identify(line.data) for path in earlier for line in self._directory.read(path)
            }
            fresh: dict[bytes, bytes] = {}
            for line in lines:
                key = self._identify(line)
                if key is None:
                    self._index.torn += 1
                elif key not in self._index and key not in known:
                    fresh.setdefault(key, line)
            before = self._weight()
            if fresh:
                self._import(run, fresh, scan)
            kept = {segment.path for segment in self._segments}
            for path in earlier:
                segment = None if path in kept else self._directory.take_over(path)
                if segment is not None and self._load(segment):
                    self._segments.insert(0, segment)
            return self._weight() - before

    def _import(self, run: str, fresh: dict[bytes, bytes], scan: Position | None) -> None:
        segment = self._directory.make(run, IMPORTED, scan, fresh.values())
        end = segment.start
        for key, line in fresh.items():
            end += len(line)
            self._index.add(segment, key, line, end)
        # Its destination may have got any of them before.
        segment.offered = end
        self._segments.append(segment)

    # The end.

    def close(self) -> None:
        """
        Let go of the files; those that hold lines stay for the next start. Idempotent.

        `held` still counts them; a later `write` begins a new file.
        """
        with self._lock:
            for segment in list(self._segments):
                self._retire_if_finished(segment)
            self._left_behind += self._weight()
            self._forget()

    def abandon(self) -> None:
        """Let go of what a forked child inherited, and touch nothing on the disk."""
        self._forget()

    def _forget(self) -> None:
        segments, self._segments = self._segments, []
        self._current = None
        self._index.clear()
        for segment in segments:
            self._directory.let_go(segment)


def _by_age(segments: list[Segment]) -> list[Segment]:
    """Return the segments by run, and the runs by their first line, which begins with its time."""
    ages: dict[str, bytes] = {}
    for segment in segments:
        if segment.first:
            ages[segment.run] = min(ages.get(segment.run, segment.first), segment.first)
    return sorted(
        segments, key=lambda s: (ages.get(s.run, b""), s.run, number_in_name(s.path), s.path)
    )
