"""
Held lines: a fallback file that gives back what it was given, once.

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

import errno
import json
import os
from _thread import allocate_lock
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from stat import S_ISREG
from typing import Final

from .outcomes import DELIVERED, Outcome, Partial, Permanent, Retryable
from .position import Position
from .system import (
    O_CLOEXEC,
    O_NOFOLLOW,
    O_NONBLOCK,
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    SYSTEM,
    System,
    is_private,
    lock_in_place,
    publish,
    unlink_if_there,
    write_all,
)
from .tier import Kind

VERSION: Final = 1
SUFFIX: Final = ".held"
QUOTA: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 4 * 1024 * 1024
LONGEST: Final = 4 * 1024 * 1024
"""The longest line in bytes that is read back; a longer one counts as torn."""

_WINDOW: Final = 1024 * 1024
_NAME_ATTEMPTS: Final = 1000
_OWN: Final = b'{"hydra":'
_LOCK_PATIENCE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    Lines to be replayed, oldest first; pass it to `acknowledge` when they are delivered.

    `suspect` says that the destination may have some of them already; `scan`
    from where in its file to look for their ids.
    """

    lines: Sequence[bytes]
    segment: str
    end: int
    suspect: bool
    scan: Position | None
    run: str
    weight: int


@dataclass(frozen=True, slots=True)
class HeldStatistics:
    """The store at one moment."""

    segments: int
    """Files that it keeps."""
    bytes: int
    """Bytes in them."""
    held: int
    """Weight of the lines not acknowledged."""
    torn: int
    """Torn and alien lines skipped so far."""
    refused: int
    """Files not adopted so far: of another user, an unknown version, or unsafe."""
    failures: int
    """Failed system calls so far that lost nothing."""


@dataclass(slots=True, eq=False)
class _Segment:
    path: str
    serial: int
    run: str
    fd: int
    scan: Position | None
    size: int
    adopted: bool
    start: int = 0
    offered: int = 0
    weight: int = 0
    left: int = 0
    torn_tail: bool = False
    first: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class _Line:
    data: bytes
    start: int
    end: int


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
        self._directory, self._base = os.path.split(os.path.abspath(prefix))
        self._app = app
        self._destination = destination
        self._run = run
        self._quota = quota
        self._segment_bytes = segment_bytes
        self._identify = identify
        self._weigh = weigh
        self._system = system
        self._scan = scan
        self._lock = allocate_lock()
        self._segments: list[_Segment] = []
        self._current: _Segment | None = None
        self._serial = 0
        self._number = 0
        self._ids: dict[bytes, tuple[int, int]] = {}
        self._left_behind = 0
        self._torn = 0
        self._refused = 0
        self._failures = 0

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
        fresh: list[int] = []
        taken: list[int] = []
        batch_keys: set[bytes] = set()
        for index, key in enumerate(keys):
            if key is None:
                continue
            if key in self._ids or key in batch_keys:
                taken.append(index)
            else:
                batch_keys.add(key)
                fresh.append(index)
        error: OSError | str | None = None
        if fresh:
            written, error = self._append_lines([lines[i] for i in fresh], [keys[i] for i in fresh])
            # A repeated line is taken only if the line it repeats was.
            lost = {keys[i] for i in fresh[written:]}
            taken = [i for i in taken if keys[i] not in lost] + fresh[:written]
        if len(taken) == len(lines):
            return DELIVERED
        if error is None:
            refusal = Permanent("a line without an id could not be told from a torn one")
            return Partial(sorted(taken), refusal) if taken else refusal
        return Partial(sorted(taken), Retryable(error)) if taken else Retryable(error)

    def _append_lines(
        self, lines: list[bytes], keys: list[bytes | None]
    ) -> tuple[int, OSError | str | None]:
        room = self._quota - self._bytes()
        fits, size = 0, 0
        for line in lines:
            if size + len(line) + 1 > room:
                break
            size += len(line)
            fits += 1
        if not fits:
            return 0, f"the quota of {self._quota} bytes for held lines is used up"
        try:
            segment = self._writable()
        except OSError as failure:
            return 0, failure
        head = b"\n" if segment.torn_tail else b""
        written, error = write_all(self._system, segment.fd, head + b"".join(lines[:fits]))
        at = segment.size + len(head)
        segment.size += written
        count = 0
        for line, key in zip(lines[:fits], keys, strict=False):
            if at + len(line) > segment.size:
                break
            at += len(line)
            count += 1
            if key is not None:
                self._ids[key] = (segment.serial, at)
            segment.left += 1
            segment.weight += self._weigh(line)
        if written:
            segment.torn_tail = at != segment.size
        if error is not None:
            self._retire_if_finished(segment)
            return count, error
        if fits < len(lines):
            return count, f"the quota of {self._quota} bytes for held lines is used up"
        return count, None

    def _writable(self) -> _Segment:
        current = self._current
        if current is not None and current.size < self._segment_bytes:
            return current
        self._number += 1
        self._current = self._make(str(self._number), self._run, self._scan(), [], adopted=False)
        return self._current

    def _bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    def _make(
        self, suffix: str, run: str, scan: Position | None, lines: list[bytes], *, adopted: bool
    ) -> _Segment:
        """Make a whole segment under a hidden name, then show it."""
        system = self._system
        header = {
            "hydra": "held",
            "version": VERSION,
            "app": self._app,
            "uid": system.getuid(),
            "destination": self._destination,
            "run": run,
            "scan": None if scan is None else asdict(scan),
        }
        first = json.dumps(header, separators=(",", ":")).encode() + b"\n"
        system.makedirs(self._directory, PRIVATE_DIRECTORY)
        for attempt in range(1, _NAME_ATTEMPTS):
            name = f"{self._base}.{run}-{suffix}{'' if attempt == 1 else f'.{attempt}'}{SUFFIX}"
            path = os.path.join(self._directory, name)
            try:
                fd = self._make_file(path, first + b"".join(lines), durable=bool(lines))
            except FileExistsError:
                continue
            self._serial += 1
            segment = _Segment(
                path, self._serial, run, fd, scan, len(first), adopted, start=len(first)
            )
            self._segments.append(segment)
            return segment
        raise FileExistsError(errno.EEXIST, "no free name for a file of held lines", self._base)

    def _make_file(self, path: str, data: bytes, *, durable: bool) -> int:
        system = self._system
        hidden = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | O_CLOEXEC | O_NOFOLLOW
        fd = system.open(hidden, flags, PRIVATE_FILE)
        shown = False
        try:
            system.fchmod(fd, PRIVATE_FILE)
            if not system.lock(fd):
                raise FileExistsError(errno.EEXIST, "held by another process", hidden)
            _, error = write_all(system, fd, data)
            if error is not None:
                raise error
            if durable:
                system.fdatasync(fd)
            publish(system, hidden, path)
            shown = True
            if durable:
                system.sync_directory(self._directory)
        except BaseException:
            # Whatever stopped us, a half-made file must not fill the disk.
            try:
                with suppress(OSError):
                    unlink_if_there(system, path if shown else hidden)
            finally:
                system.close(fd)
            raise
        return fd

    # Reading.

    @property
    def held(self) -> int:
        """Weight of the lines that are not acknowledged."""
        return self._left_behind + sum(segment.weight for segment in list(self._segments))

    def statistics(self) -> HeldStatistics:
        """Return the facts of this moment."""
        segments = list(self._segments)
        return HeldStatistics(
            segments=len(segments),
            bytes=sum(segment.size for segment in segments),
            held=self.held,
            torn=self._torn,
            refused=self._refused,
            failures=self._failures,
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

    def _chunk(self, segment: _Segment, limit: int, max_bytes: int) -> Chunk | None:
        if not segment.left:
            return None
        lines: list[bytes] = []
        size = weight = 0
        end = segment.start
        for line in self._read(segment.fd, segment.start, segment.size):
            if not self._is_kept(segment, line):
                end = line.end
                continue
            if lines and size + len(line.data) > max_bytes:
                break
            lines.append(line.data)
            size += len(line.data)
            weight += self._weigh(line.data)
            end = line.end
            if len(lines) >= limit:
                break
        if not lines:
            # The file lost lines behind our back; what is gone cannot be replayed.
            self._torn += segment.left
            segment.left = segment.weight = 0
            self._ids = {key: at for key, at in self._ids.items() if at[0] != segment.serial}
            return None
        suspect = segment.adopted or segment.start < segment.offered
        segment.offered = max(segment.offered, end)
        return Chunk(lines, segment.path, end, suspect, segment.scan, segment.run, weight)

    def _is_kept(self, segment: _Segment, line: _Line) -> bool:
        """Return whether a line is one to replay: whole, not ours, and not held elsewhere."""
        if line.data.startswith(_OWN):
            return False
        key = self._identify(line.data)
        return key is not None and self._ids.get(key) == (segment.serial, line.end)

    def _read(self, fd: int, start: int, stop: int) -> Iterator[_Line]:
        """Yield the lines between two offsets; too long ones come empty."""
        rest = b""
        at = begin = start
        long = False
        while at < stop:
            data = self._system.pread(fd, min(_WINDOW, stop - at), at)
            if not data:
                break
            at += len(data)
            pieces = (rest + data).split(b"\n")
            rest = pieces.pop()
            for piece in pieces:
                end = begin + len(piece) + 1
                yield _Line(b"" if long else piece + b"\n", begin, end)
                long = False
                begin = end
            if len(rest) > LONGEST:
                begin += len(rest)
                rest, long = b"", True
        if rest or long:
            yield _Line(b"", begin, at)

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
                key = self._identify(line)
                if key is not None and self._ids.get(key, (0, 0))[0] == segment.serial:
                    del self._ids[key]
                    segment.left -= 1
                    segment.weight -= self._weigh(line)
            segment.start = chunk.end
            note = b'%b"ack","offset":%d}\n' % (_OWN, chunk.end)
            head = b"\n" if segment.torn_tail else b""
            written, error = write_all(self._system, segment.fd, head + note)
            segment.size += written
            if error is not None:
                self._failures += 1
            if written:
                segment.torn_tail = written not in (len(head), len(head) + len(note))
            self._retire_if_finished(segment)

    def _retire_if_finished(self, segment: _Segment) -> None:
        """Remove a file that holds nothing; a failure leaves it for the next time."""
        if segment.left:
            return
        system = self._system
        try:
            if segment.start > 0:
                system.fdatasync(segment.fd)
        except OSError:
            # The lines are delivered; only a power cut could bring them back.
            self._failures += 1
        try:
            unlink_if_there(system, segment.path)
        except OSError:
            self._failures += 1
            return
        if segment is self._current:
            self._current = None
        self._segments.remove(segment)
        try:
            system.sync_directory(self._directory)
        except OSError:
            self._failures += 1
        self._close(segment)

    def _close(self, segment: _Segment) -> None:
        try:
            self._system.close(segment.fd)
        except OSError:
            self._failures += 1

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
            system = self._system
            try:
                names = system.listdir(self._directory)
                private = is_private(system, self._directory)
            except FileNotFoundError:
                self._left_behind = 0
                return 0
            except OSError:
                self._failures += 1
                return 0
            known = {segment.path for segment in self._segments}
            before = self.held - self._left_behind
            found: list[_Segment] = []
            for name in names:
                path = os.path.join(self._directory, name)
                hidden = name.startswith(f".{self._base}.")
                if not name.endswith(SUFFIX) or path in known:
                    continue
                if not (hidden or name.startswith(f"{self._base}.")):
                    continue
                if not private:
                    self._refused += 1
                    continue
                segment = self._take(path, hidden=hidden)
                if segment is not None:
                    found.append(segment)
            self._left_behind = 0
            self._segments[:0] = _by_age(found)
            for segment in found:
                self._retire_if_finished(segment)
            return self.held - before

    def _take(self, path: str, *, hidden: bool) -> _Segment | None:
        system = self._system
        try:
            fd = system.open(path, os.O_RDWR | os.O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError:
            self._refused += 1
            return None
        segment: _Segment | None = None
        try:
            segment = self._examine(path, fd, hidden=hidden)
        except OSError:
            self._failures += 1
        finally:
            if segment is None:
                with suppress(OSError):
                    system.close(fd)
        return segment

    def _examine(self, path: str, fd: int, *, hidden: bool) -> _Segment | None:
        system = self._system
        facts = system.fstat(fd)
        if not S_ISREG(facts.st_mode) or facts.st_uid != system.getuid():
            self._refused += 1
            return None
        if not lock_in_place(system, fd, path):
            return None
        # Its owner may have written until it died, that is, until we had the lock.
        size = system.fstat(fd).st_size
        if hidden:
            # Never shown, so what it holds is also where it came from.
            system.unlink(path)
            return None
        self._serial += 1
        segment = _Segment(path, self._serial, _run_of(path, self._base), fd, None, size, True)
        header = self._header(fd, size)
        if header is not None:
            version = header.get("version")
            if not isinstance(version, int) or version > VERSION:
                self._refused += 1
                return None
            if (header.get("app"), header.get("destination")) != (self._app, self._destination):
                return None
            segment.run = str(header.get("run"))
            segment.scan = _scan_of(header.get("scan"))
        self._count(segment)
        return segment

    def _header(self, fd: int, size: int) -> dict[str, object] | None:
        for line in self._read(fd, 0, min(size, _WINDOW)):
            found = _own_line(line.data)
            return found if found is not None and found.get("hydra") == "held" else None
        return None

    def _count(self, segment: _Segment) -> None:
        """Find out what an adopted file still holds."""
        for line in self._read(segment.fd, 0, segment.size):
            own = _own_line(line.data)
            if own is not None and own.get("hydra") == "ack":
                offset = own.get("offset")
                if isinstance(offset, int) and 0 <= offset <= line.start:
                    segment.start = max(segment.start, offset)
        for line in self._read(segment.fd, segment.start, segment.size):
            if line.data.startswith(_OWN) or line.data == b"\n":
                continue
            key = self._identify(line.data) if line.data else None
            if key is None:
                self._torn += 1
            elif key not in self._ids:
                self._ids[key] = (segment.serial, line.end)
                segment.left += 1
                segment.weight += self._weigh(line.data)
                segment.first = segment.first or line.data
        segment.torn_tail = (
            segment.size > 0 and self._system.pread(segment.fd, 1, segment.size - 1) != b"\n"
        )

    def import_lines(self, run: str, lines: Iterable[bytes], scan: Position | None) -> int:
        """
        Take lines recovered from elsewhere, all or none; doing it again adds nothing.

        The quota does not count here: the lines exist already and only change
        their place. They are on the disk on return.

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
            known = self._imported(run)
            fresh: dict[bytes, bytes] = {}
            for line in lines:
                key = self._identify(line)
                if key is None:
                    self._torn += 1
                elif key not in self._ids and key not in known:
                    fresh.setdefault(key, line)
            if not fresh:
                return 0
            data = list(fresh.values())
            segment = self._make("adopted", run, scan, data, adopted=True)
            for key, line in fresh.items():
                segment.size += len(line)
                self._ids[key] = (segment.serial, segment.size)
                segment.left += 1
                segment.weight += self._weigh(line)
            segment.first = data[0]
            return segment.weight

    def _imported(self, run: str) -> set[bytes]:
        """
        Return the ids in files of an earlier import of *run*, acknowledged or not.

        A file that a crash left without an owner is taken over on the way.
        """
        system = self._system
        kept = {segment.path for segment in self._segments}
        found: set[bytes] = set()
        try:
            names = system.listdir(self._directory)
        except FileNotFoundError:
            return found
        for name in names:
            if not name.startswith(f"{self._base}.{run}-adopted") or not name.endswith(SUFFIX):
                continue
            path = os.path.join(self._directory, name)
            try:
                fd = system.open(path, os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            except FileNotFoundError:
                continue
            try:
                size = system.fstat(fd).st_size
                keys = (self._identify(line.data) for line in self._read(fd, 0, size) if line.data)
                found.update(key for key in keys if key is not None)
            finally:
                system.close(fd)
            segment = None if path in kept else self._take(path, hidden=False)
            if segment is not None:
                self._segments.insert(0, segment)
        return found

    # The end.

    def close(self) -> None:
        """
        Let go of the files; those that hold lines stay for the next start. Idempotent.

        `held` still counts them; a later `write` begins a new file.
        """
        with self._lock:
            for segment in list(self._segments):
                self._retire_if_finished(segment)
            self._left_behind += sum(segment.weight for segment in self._segments)
            self._forget()

    def abandon(self) -> None:
        """Let go of what a forked child inherited, and touch nothing on the disk."""
        self._forget()

    def _forget(self) -> None:
        segments, self._segments = self._segments, []
        self._current = None
        self._ids = {}
        for segment in segments:
            self._close(segment)


def _by_age(segments: list[_Segment]) -> list[_Segment]:
    """Return the segments by run, and the runs by their first line, which begins with its time."""
    ages: dict[str, bytes] = {}
    for segment in segments:
        if segment.first:
            ages[segment.run] = min(ages.get(segment.run, segment.first), segment.first)
    return sorted(segments, key=lambda s: (ages.get(s.run, b""), s.run, _number_of(s.path)))


def _number_of(path: str) -> tuple[int, str]:
    number = path[: -len(SUFFIX)].rpartition("-")[2]
    return (int(number) if number.isdigit() else 0, path)


def _run_of(path: str, base: str) -> str:
    return os.path.basename(path)[len(base) + 1 : -len(SUFFIX)].rpartition("-")[0]


def _own_line(data: bytes) -> dict[str, object] | None:
    if not data.startswith(_OWN):
        return None
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else None


def _scan_of(value: object) -> Position | None:
    if not isinstance(value, dict):
        return None
    dev, ino, offset = (value.get(key) for key in ("dev", "ino", "offset"))
    if isinstance(dev, int) and isinstance(ino, int) and isinstance(offset, int):
        return Position(dev, ino, offset)
    return None
