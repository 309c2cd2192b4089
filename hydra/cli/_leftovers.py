"""
What dead processes left: journal and held segments, found and counted.

Rule 1: a segment that somebody has locked belongs to a living process; it is
listed and never touched.
Rule 2: a segment of another user or of a newer format is listed and never touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

import msgspec

from fallbacks.files import lock_in_place
from fallbacks.journal.frames import VERSION
from fallbacks.journal.recovery import SegmentFacts
from fallbacks.journal.recovery import inspect as inspect_journals
from fallbacks.system import SYSTEM

from .audit._facts import FileFacts
from .audit._lines import read_line
from .audit._segments import HELD, acknowledged_before, read_held
from .audit._sources import MAX_LINE

_HELD_NAME: Final = re.compile(r"\.([a-z0-9]{8,64})-(\d{1,18})\.held$")


class _Header(msgspec.Struct):
    app: str = ""


class Place(NamedTuple):
    """
    Where to look: a directory and all below it.

    With *prefix*, only the held segments of that fallback file, in the directory itself.
    """

    directory: str
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Leftover:
    """
    One segment.

    Args:
        path: The file.
        kind: `journal` or `held`.
        app: Whose it is; empty when it does not say.
        run: The run that wrote it.
        pid: The process that wrote a journal segment.
        records: Records in it.
        waiting: Those that are not acknowledged, by destination.
        size: Bytes of the file.
        modified: When it was last written to, in seconds since the epoch.
        locked: Whether a living process has it.
        problem: Why it must be left alone, besides the lock; empty when it need not.
    """

    path: str
    kind: str
    app: str = ""
    run: str = ""
    pid: int | None = None
    records: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    size: int = 0
    modified: float = 0.0
    locked: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HeldContents:
    """
    What a held segment says.

    Args:
        app: Whose it is; empty when its header cannot be read.
        destinations: Whom it is for; empty as well then.
        records: Records in it, control records apart.
        waiting: Lines that are not acknowledged, control records among them.
        waiting_records: How many of them are records.
        damaged: Lines that are no records.
    """

    app: str
    destinations: tuple[str, ...]
    records: int
    waiting: tuple[bytes, ...]
    waiting_records: int
    damaged: int


@contextmanager
def locked(path: str) -> Iterator[bool]:
    """
    Hold the lock of the segment at *path*; give False when somebody else has it.

    Raises:
        OSError: If the file cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield lock_in_place(SYSTEM, fd, path)
    finally:
        os.close(fd)


def segments_in(places: Iterable[Place]) -> dict[str, list[str]]:
    """
    Return the names of the segments in *places*, by directory.

    Raises:
        OSError: If a directory cannot be read; what it holds would be overlooked.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: dict[str, set[str]] = {}
    for place in places:
        for base, below, names in os.walk(place.directory, onerror=refuse):
            segments = {name for name in names if _is_segment(name, place.prefix)}
            if segments:
                found.setdefault(os.path.normpath(base), set()).update(segments)
            if place.prefix is not None:
                below.clear()
    return {base: sorted(names) for base, names in sorted(found.items())}


def _is_segment(name: str, prefix: str | None) -> bool:
    if prefix is not None:
        return name.startswith(prefix + ".") and name.endswith(".held")
    return name.endswith((".j", ".held")) and not name.startswith(".")


def leftovers(places: Iterable[Place]) -> list[Leftover]:
    """
    Return the facts of every segment in *places*.

    Raises:
        OSError: If a directory or a held segment cannot be read.
    """
    found: list[Leftover] = []
    for base, names in segments_in(places).items():
        journals = {facts.path: facts for facts in inspect_journals(base)}
        for name in names:
            path = os.path.join(base, name)
            try:
                info = os.stat(path)
                problem = _foreign(info)
                if name.endswith(".j"):
                    found.append(_journal(path, journals.get(path), info, problem))
                else:
                    found.append(_held(path, info, problem))
            except FileNotFoundError:
                continue  # Adopted and removed while we looked: nothing is left of it.
    return found


def _foreign(info: os.stat_result) -> str:
    return "" if info.st_uid == os.geteuid() else f"belongs to user {info.st_uid}"


def _journal(path: str, facts: SegmentFacts | None, info: os.stat_result, problem: str) -> Leftover:
    if facts is None:
        return Leftover(
            path,
            "journal",
            size=info.st_size,
            modified=info.st_mtime,
            problem=problem or "cannot be read, or its name is not that of a journal segment",
        )
    if facts.version > VERSION:
        problem = problem or f"its format version {facts.version} is newer than this hydra reads"
    return Leftover(
        path=path,
        kind="journal",
        app=facts.app,
        run=facts.run,
        pid=facts.pid,
        records=facts.records,
        waiting=facts.unacknowledged,
        size=facts.bytes,
        modified=info.st_mtime,
        locked=facts.locked,
        problem=problem,
    )


def _held(path: str, info: os.stat_result, problem: str) -> Leftover:
    name = os.path.basename(path)
    match = _HELD_NAME.search(name)
    contents = read_held_segment(path)
    with locked(path) as mine:
        return Leftover(
            path=path,
            kind="held",
            app=contents.app,
            run=match[1] if match else "",
            records=contents.records,
            waiting={
                each: contents.waiting_records
                for each in contents.destinations or ("",)
                if contents.waiting_records
            },
            size=info.st_size,
            modified=info.st_mtime,
            locked=not mine,
            problem=problem,
        )


def read_held_segment(path: str) -> HeldContents:
    """
    Return what the held segment at *path* says.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, "rb") as file:
        done = acknowledged_before(_pieces(file))
        file.seek(0)
        header = FileFacts(path)
        first = file.readline(MAX_LINE)
        read_held([first], 0, header)
        file.seek(0)
        offset = records = waiting_records = damaged = 0
        waiting: list[bytes] = []
        for line in _pieces(file):
            start, offset = offset, offset + len(line)
            if line.startswith(HELD):
                continue
            reading = read_line(line)
            damaged += reading.torn or reading.foreign
            for entry in reading.entries:
                is_record = not entry.key.endswith("c")
                records += is_record
                if start >= done:
                    waiting.append(entry.raw.rstrip(b"\n") + b"\n")
                    waiting_records += is_record
    names = tuple(sorted(header.names))
    return HeldContents(_app_of(first), names, records, tuple(waiting), waiting_records, damaged)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of *file*; one that is longer than any record comes in pieces."""
    while line := file.readline(MAX_LINE):
        yield line


def _app_of(header: bytes) -> str:
    try:
        return msgspec.json.decode(header, type=_Header).app
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
