"""
Recovery: take over what dead processes left in the journal's directory.

Rule 1: a segment is adopted only when nobody holds its lock, its owner has our
user id, its application is ours and its version is known. Everything else is
left exactly as it is.
Rule 2: all segments of a run are taken together or not at all, because the
acknowledgement of a record may stand in a later segment.
Rule 3: what is wrong with a file is counted. Nothing in a file can make a start fail.
Rule 4: nothing is removed before `finish`, so a crash in between repeats the work.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from stat import S_ISREG
from typing import Final

from ..position import Position
from ..system import (
    O_CLOEXEC,
    O_NOFOLLOW,
    O_NONBLOCK,
    SYSTEM,
    FileFacts,
    System,
    is_private,
    lock_in_place,
    unlink_if_there,
    write_all,
)
from .frames import (
    VERSION,
    Acknowledgement,
    FrameKind,
    Header,
    Scan,
    decode_ack,
    decode_header,
    decode_record,
    encode_ack,
)
from .journal import key_of, safe_name

SUFFIX: Final = ".j"
BAD: Final = ".bad"
# What an acknowledgement can name; another id could never be settled.
_KEY: Final = re.compile(rb"[^ ,\n]+-[0-9]{1,18}\Z")
_FLAGS: Final = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK


@dataclass(frozen=True, slots=True)
class SegmentName:
    """What the name of a segment file says: `<app>.<boot>.<pid>.<start>.<run>.<k>.j`."""

    app: str
    boot: str
    pid: int
    start: str
    run: str
    number: int


def parse_name(name: str) -> SegmentName | None:
    """Return the parts of a segment's file name; None if it is not one."""
    if not name.endswith(SUFFIX) or name.startswith("."):
        return None
    parts = name[: -len(SUFFIX)].rsplit(".", 5)
    if len(parts) != 6 or not all(parts):
        return None
    app, boot, pid, start, run, number = parts
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in (pid, number)):
        return None
    return SegmentName(app, boot, int(pid), start, run, int(number))


@dataclass(slots=True)
class Contents:
    """What the segments of one run say, put together frame by frame."""

    records: dict[bytes, tuple[tuple[str, ...], bytes]] = field(default_factory=dict)
    acks: dict[str, dict[bytes, list[tuple[int, int]]]] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    torn: int = 0
    bad: int = 0

    def add_record(self, names: tuple[str, ...], line: bytes) -> None:
        """Take in a record; one that comes again is kept once, for all its destinations."""
        key = key_of(line)
        if key is None or not _KEY.match(key):
            self.bad += 1
            return
        known = self.records.get(key)
        if known is not None:
            names = tuple(dict.fromkeys(known[0] + names))
            line = known[1]
        self.records[key] = (names, line)

    def add_ack(self, ack: Acknowledgement) -> None:
        """Take in an acknowledgement."""
        if ack.position is not None:
            self.positions[ack.destination] = ack.position
        streams = self.acks.setdefault(ack.destination, {})
        for r in ack.ranges:
            streams.setdefault(r.stream, []).append((r.first, r.last))

    def pending(self) -> dict[str, list[tuple[bytes, bytes]]]:
        """Return the unacknowledged (id, line) of each destination, in the order written."""
        merged = {
            destination: {stream: _merge(spans) for stream, spans in streams.items()}
            for destination, streams in self.acks.items()
        }
        found: dict[str, list[tuple[bytes, bytes]]] = {}
        for key, (names, line) in self.records.items():
            stream, _, number = key.rpartition(b"-")
            n = int(number)
            for name in names:
                if not _covers(merged.get(name, {}).get(stream, []), n):
                    found.setdefault(name, []).append((key, line))
        return found


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _covers(spans: list[tuple[int, int]], n: int) -> bool:
    at = bisect_right(spans, n, key=lambda span: span[0])
    return at > 0 and n <= spans[at - 1][1]


def read_segment(system: System, fd: int, size: int, contents: Contents) -> Header | None:
    """
    Add the frames of one segment to *contents* and return its header, if it is whole.

    Raises:
        OSError: If the file cannot be read.
    """
    header: Header | None = None
    scan = Scan(lambda start, stop: system.pread(fd, stop - start, start), size)
    for frame in scan:
        if frame.kind is FrameKind.HEADER:
            header = header or decode_header(frame.payload)
            if header is not None and header.version > VERSION:
                return header
        elif frame.kind is FrameKind.RECORD:
            record = decode_record(frame.payload)
            if record is None:
                contents.bad += 1
            else:
                contents.add_record(*record)
        else:
            ack = decode_ack(frame.payload)
            if ack is None:
                contents.bad += 1
            else:
                contents.add_ack(ack)
    contents.torn += scan.torn
    contents.bad += scan.bad
    return header


@dataclass(frozen=True, slots=True)
class _Held:
    path: str
    fd: int
    damaged: bool


@dataclass(slots=True)
class Recovered:
    """
    The segments of one dead run, locked until `finish` or `release`.

    `pending` has the lines that a wanted destination has not acknowledged, in
    the order they were written; `scan` the last acknowledged position of each,
    from where its file may already have some of them.
    """

    run: str
    pending: dict[str, list[bytes]]
    scan: dict[str, Position | None]
    torn: int
    bad: int
    segments: tuple[str, ...]
    _system: System
    _held: list[_Held]
    _keys: dict[str, list[bytes]]
    _rest: bool
    failures: int = 0

    def finish(self) -> None:
        """
        Remove the segments; call it when the pending lines are safe elsewhere.

        A damaged segment becomes `<name>.bad`. Where a destination that is not
        wanted now still has records in them, the files stay, and what was taken
        is marked as acknowledged. What cannot be removed is counted in
        `failures` and comes again at the next start.
        """
        try:
            if self._rest:
                self._mark_taken()
            else:
                self._remove()
        finally:
            self.release()

    def _remove(self) -> None:
        for held in self._held:
            try:
                if held.damaged:
                    self._system.rename(held.path, held.path + BAD)
                else:
                    unlink_if_there(self._system, held.path)
            except OSError:
                self.failures += 1
        if self._held:
            try:
                self._system.sync_directory(os.path.dirname(self._held[0].path))
            except OSError:
                self.failures += 1

    def _mark_taken(self) -> None:
        fd = self._held[-1].fd
        for destination, keys in self._keys.items():
            frames = b"".join(encode_ack(destination, None, keys))
            _, error = write_all(self._system, fd, frames)
            if error is not None:
                self.failures += 1
        try:
            self._system.fdatasync(fd)
        except OSError:
            self.failures += 1

    def release(self) -> None:
        """Unlock the segments and leave them for another start. Idempotent."""
        while self._held:
            held = self._held.pop()
            try:
                self._system.close(held.fd)
            except OSError:
                self.failures += 1


@dataclass(slots=True)
class Refusals:
    """What an adoption left alone, and why."""

    foreign: int = 0
    """Segments of another user, or a directory that others can write to."""
    newer: int = 0
    """Segments of a format version that this code does not know."""
    locked: int = 0
    """Segments whose owner lives."""
    unreadable: int = 0
    """Segments that the system would not open or read."""


def adopt(
    directory: str,
    *,
    app: str,
    destinations: Collection[str],
    system: System = SYSTEM,
    refusals: Refusals | None = None,
) -> Iterator[Recovered]:
    """
    Take over the segments of dead runs, one run at a time.

    The lock is what decides: it falls with its owner, whichever way it died, and
    it holds across containers that share the directory, where process ids mean
    nothing.

    Args:
        directory: The journal's directory; it may be missing.
        app: The application whose segments are wanted.
        destinations: The destinations whose records are wanted. A run without
            any record for them is left alone, unless nothing in it is pending.
        system: Where the files are.
        refusals: Counts what was left alone.

    Yields:
        Each run that was taken; end each with `finish` or `release`.
    """
    counts = Refusals() if refusals is None else refusals
    for run, paths in _runs(system, directory, app, counts):
        recovered = _adopt_run(system, run, paths, app, frozenset(destinations), counts)
        if recovered is not None:
            yield recovered


def _runs(
    system: System, directory: str, app: str, counts: Refusals
) -> list[tuple[str, list[str]]]:
    try:
        names = system.listdir(directory)
        private = is_private(system, directory)
    except OSError:
        return []
    wanted = safe_name(app)
    runs: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        path = os.path.join(directory, name)
        hidden = parse_name(name[1:]) if name.startswith(".") else None
        if hidden is not None and hidden.app == wanted and private:
            _remove_unfinished(system, path)
        facts = parse_name(name)
        if facts is not None and facts.app == wanted:
            runs.setdefault(facts.run, []).append((facts.number, path))
    if not private:
        counts.foreign += sum(map(len, runs.values()))
        return []
    return [(run, [path for _, path in sorted(found)]) for run, found in sorted(runs.items())]


def _remove_unfinished(system: System, path: str) -> None:
    """Remove a file that never got its name, or has it by now as well."""
    opened = _open_own(system, path)
    if opened is None:
        return
    fd, _ = opened
    # A failure leaves a file of no use behind; the next start tries again.
    try:
        with suppress(OSError):
            if lock_in_place(system, fd, path):
                system.unlink(path)
    finally:
        with suppress(OSError):
            system.close(fd)


def _open_own(system: System, path: str) -> tuple[int, FileFacts] | None:
    """Open a regular file of our own user; None if it is not one."""
    try:
        fd = system.open(path, os.O_RDWR | os.O_APPEND | _FLAGS)
    except OSError:
        return None
    try:
        facts = system.fstat(fd)
        if S_ISREG(facts.st_mode) and facts.st_uid == system.getuid():
            return fd, facts
    except OSError:
        pass
    with suppress(OSError):
        system.close(fd)
    return None


def _adopt_run(
    system: System,
    run: str,
    paths: list[str],
    app: str,
    destinations: frozenset[str],
    counts: Refusals,
) -> Recovered | None:
    contents = Contents()
    held: list[_Held] = []
    taken = False
    try:
        taken = _take_all(system, paths, app, contents, held, counts)
    finally:
        if not taken:
            for item in held:
                with suppress(OSError):
                    system.close(item.fd)
    if not taken:
        return None
    pending = contents.pending()
    wanted = {name: found for name, found in pending.items() if name in destinations}
    recovered = Recovered(
        run=run,
        pending={name: [line for _, line in found] for name, found in wanted.items()},
        scan={name: contents.positions.get(name) for name in wanted},
        torn=contents.torn,
        bad=contents.bad,
        segments=tuple(item.path for item in held),
        _system=system,
        _held=held,
        _keys={name: [key for key, _ in found] for name, found in wanted.items()},
        _rest=len(wanted) < len(pending),
    )
    if pending and not wanted:
        recovered.release()
        return None
    return recovered


def _take_all(
    system: System,
    paths: list[str],
    app: str,
    contents: Contents,
    held: list[_Held],
    counts: Refusals,
) -> bool:
    for path in paths:
        opened = _open_own(system, path)
        if opened is None:
            counts.foreign += 1
            return False
        fd, facts = opened
        held.append(_Held(path, fd, damaged=False))
        bad = contents.bad
        try:
            if not lock_in_place(system, fd, path):
                counts.locked += 1
                return False
            header = read_segment(system, fd, facts.st_size, contents)
        except OSError:
            counts.unreadable += 1
            return False
        if header is not None and header.version > VERSION:
            counts.newer += 1
            return False
        if header is not None and header.app != app:
            # Two applications may share a file name, where theirs had odd characters.
            return False
        held[-1] = _Held(path, fd, damaged=contents.bad > bad)
    return True


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One segment as `inspect` sees it."""

    path: str
    app: str
    pid: int
    run: str
    records: int
    unacknowledged: dict[str, int]
    """Records of this segment that a destination has not acknowledged in its run."""
    bytes: int
    locked: bool
    """Whether its owner lives."""
    version: int
    """The format's version; 0 when the header cannot be read."""


def inspect(directory: str, *, system: System = SYSTEM) -> list[SegmentFacts]:
    """
    Return facts about all segments in *directory*, of any application, adopting none.

    Files that cannot be read are left out. A lock is tried and given back, so a
    start at this very moment may take the segment for a live one and leave it.
    """
    try:
        names = system.listdir(directory)
    except OSError:
        return []
    runs: dict[tuple[str, str], Contents] = {}
    found: list[tuple[str, SegmentName, Contents, FileFacts, bool, Header | None]] = []
    for name in names:
        parsed = parse_name(name)
        if parsed is None:
            continue
        path = os.path.join(directory, name)
        contents = Contents()
        try:
            fd = system.open(path, os.O_RDONLY | _FLAGS)
            try:
                facts = system.fstat(fd)
                if not S_ISREG(facts.st_mode):
                    continue
                locked = not system.lock(fd)
                header = read_segment(system, fd, facts.st_size, contents)
            finally:
                system.close(fd)
        except OSError:
            continue
        whole = runs.setdefault((parsed.app, parsed.run), Contents())
        for destination, streams in contents.acks.items():
            for stream, spans in streams.items():
                whole.acks.setdefault(destination, {}).setdefault(stream, []).extend(spans)
        found.append((path, parsed, contents, facts, locked, header))
    return [
        SegmentFacts(
            path=path,
            app=header.app if header is not None and header.app else parsed.app,
            pid=parsed.pid,
            run=parsed.run,
            records=len(contents.records),
            unacknowledged={
                destination: len(pending)
                for destination, pending in Contents(
                    contents.records, runs[parsed.app, parsed.run].acks
                )
                .pending()
                .items()
            },
            bytes=facts.st_size,
            locked=locked,
            version=0 if header is None else header.version,
        )
        for path, parsed, contents, facts, locked, header in found
    ]
