"""
The held store: a fallback file that gives back what it was given, once.

Rule 1: a line counts as held when the kernel has it, and until an
acknowledgement of its chunk; then its space goes, and in the end its file.
Rule 2: a line that cannot be identified is never taken, because it could not be
told from a torn one when it is read back.
Rule 3: an id is held once. Memory does not grow with the lines that are held,
only with the gaps between their ids, of which there are `PIECES` at most.
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
from ._quota import Quota
from ._segment import Segment

QUOTA: Final = 64 * 1024 * 1024
SHARE: Final = 16
"""A file is finished at one part in so many of the quota: its space comes back with its end."""
SMALLEST: Final = 64 * 1024
"""But not before it has so many bytes."""
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
            more is taken. Only the header of the last file may exceed it, and
            acknowledgements.
        reserve: Bytes of the quota that are kept for guaranteed lines.
        segment_bytes: Bytes after which a new file is begun; None: a sixteenth
            of the quota, and 64 KiB at least.
        identify: Returns the id of a line, or None when it is not a whole line.
            Ids that end in `-<n>`, n counting up, cost next to no memory.
        weigh: Returns what a line counts in `held`.
        guaranteed: Returns whether the reserve is for a line.
        system: Where the files are.
        name: The name in statistics and receipts.
        scan: Asked when a file is begun: how far the destination's file reaches.

    Raises:
        ValueError: If *reserve* is negative or beyond *quota*.
    """

    def __init__(
        self,
        prefix: str,
        *,
        app: str,
        destination: str,
        run: str,
        quota: int = QUOTA,
        reserve: int = 0,
        segment_bytes: int | None = None,
        identify: Callable[[bytes], bytes | None],
        weigh: Callable[[bytes], int],
        guaranteed: Callable[[bytes], bool] = lambda _: False,
        system: System = SYSTEM,
        name: str = "fallback",
        scan: Callable[[], Position | None] = lambda: None,
    ) -> None:
        self.name = name
        self.kind = Kind.HOLDING
        self._directory = Directory(system, prefix, app=app, destination=destination)
        self._index = Index(identify, weigh)
        self._run = run
        self._quota = Quota(quota, reserve, guaranteed)
        self._segment_bytes = segment_bytes or max(SMALLEST, quota // SHARE)
        self._identify = identify
        self._scan = scan
        self._lock = allocate_lock()
        self._segments: list[Segment] = []
        self._current: Segment | None = None
        self._number = 0
        self._left: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self.on_taken: Callable[[str], object] = lambda _: None
        """Told the path of each file that is taken over, so that who left it can `disown` it."""

    # Writing.

    def write(self, batch: Iterable[bytes]) -> Outcome:
        """
        Take lines; the kernel has them on return.

        A line whose id is held already counts as taken. At the quota, and for
        ordinary lines at the reserve, the lines that do not fit are answered
        with `Full`. On a full disk or any other error the lines behind the last
        whole one are retryable; lines without an id are refused for good.
        """
        lines = batch if isinstance(batch, Sequence) else list(batch)
        keys = [self._identify(line) for line in lines]
        with self._lock:
            try:
                return self._write(lines, keys)
            except MemoryError as error:
                # Some of them may be held already, and how far the file reaches is not known.
                self._current = None
                taken = self._among(keys)
                return Partial(taken, Retryable(error)) if taken else Retryable(error)

    def among(self, lines: Sequence[bytes]) -> list[int]:
        """Return the positions of those of *lines* that are held; none while a write hangs."""
        keys = [self._identify(line) for line in lines]
        if not self._lock.acquire(timeout=_LOCK_PATIENCE):
            return []
        try:
            return self._among(keys)
        finally:
            self._lock.release()

    def _among(self, keys: Sequence[bytes | None]) -> list[int]:
        return [at for at, key in enumerate(keys) if key is not None and key in self._index]

    def _write(self, lines: Sequence[bytes], keys: list[bytes | None]) -> Outcome:
        left: dict[bytes, bytes] = {}
        for key, line in zip(keys, lines, strict=True):
            if key is not None and key not in self._index:
                left.setdefault(key, line)
        rest: Retryable | Permanent | None = self._append(left) if left else None
        taken = [at for at, key in enumerate(keys) if key is not None and key not in left]
        if len(taken) == len(lines):
            return DELIVERED
        if rest is None:
            rest = Permanent("a line without an id could not be told from a torn one")
        return Partial(taken, rest) if taken else rest

    def _append(self, left: dict[bytes, bytes]) -> Retryable | None:
        """Write lines, take those that are whole out of *left*; return what stopped it."""
        pieces = self._index.pieces
        fits = self._quota.fitting(left, self._bytes(), pieces)
        full = self._quota.refusal(pieces)
        if not fits:
            return full
        try:
            segment = self._writable()
        except OSError as failure:
            return Retryable(failure)
        end, error = segment.append(b"".join(map(left.__getitem__, fits)))
        for key in fits:
            end += len(left[key])
            if end > segment.size:
                break
            self._index.add(segment, key, left.pop(key))
        if error is not None:
            self._retire_if_finished(segment)
            return Retryable(error)
        return full if left else None

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
        return sum(list(self._left.values())) + self._weight()

    @property
    def given(self) -> int:
        """Weight of the lines that were held here, and that another store has taken over."""
        return sum(list(self._given.values()))

    @property
    def left(self) -> bool:
        """Whether files with lines were let go of, and nobody has taken them over yet."""
        return bool(self._left)

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
        seen: set[bytes] = set()
        for line in segment.lines(segment.start):
            key = self._index.key_of(segment, line)
            if key is not None and key not in seen:
                max_bytes -= len(line.data)
                if lines and max_bytes < 0:
                    break
                lines.append(line.data)
                seen.add(key)
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
            for segment in loaded:
                self._taken(segment)
            for segment in loaded:
                self._retire_if_finished(segment)
            return self._weight() - before

    def _taken(self, segment: Segment) -> None:
        self.disown(segment.path)
        self.on_taken(segment.path)

    def disown(self, path: str) -> None:
        """
        Hold no more what was left behind in the file at *path*: another store has it.

        Any thread may call this; nothing happens where the file was not left by this store.
        """
        weight = self._left.pop(path, None)
        if weight is not None:
            self._given[path] = self._given.get(path, 0) + weight

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
                    self._taken(segment)
            return self._weight() - before

    def _import(self, run: str, fresh: dict[bytes, bytes], scan: Position | None) -> None:
        segment = self._directory.make(run, IMPORTED, scan, fresh.values())
        for key, line in fresh.items():
            self._index.add(segment, key, line)
        # Its destination may have got any of them before.
        segment.offered = segment.size
        self._segments.append(segment)

    # The end.

    def close(self) -> None:
        """
        Let go of the files; those that hold lines stay for the next start. Idempotent.

        `held` still counts them, until they are disowned; a later `write` begins a new file.
        """
        with self._lock:
            for segment in list(self._segments):
                self._retire_if_finished(segment)
            self._left.update((s.path, s.weight) for s in self._segments if s.left)
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
