"""
Inspection: look at the journal's directory without taking anything over.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from msgspec import Struct

from .._ownership import READ_ONLY
from ..system import SYSTEM, FileFacts, System
from ._contents import Acks, Contents
from ._names import SegmentName, parse_name
from .frames import Header


class SegmentFacts(Struct, frozen=True):
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


class _Seen(Struct, frozen=True):
    path: str
    name: SegmentName
    file: FileFacts
    locked: bool
    header: Header | None
    contents: Contents

    def facts(self) -> SegmentFacts:
        header = self.header
        return SegmentFacts(
            path=self.path,
            app=header.app if header is not None and header.app else self.name.app,
            pid=self.name.pid,
            run=self.name.run,
            records=len(self.contents.records),
            unacknowledged={
                destination: len(found) for destination, found in self.contents.pending().items()
            },
            bytes=self.file.st_size,
            locked=self.locked,
            version=0 if header is None else header.version,
        )


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
    runs: dict[tuple[str, str], Acks] = {}
    seen: list[_Seen] = []
    for text in names:
        name = parse_name(text)
        if name is None:
            continue
        # One table for all segments of a run: an acknowledgement may stand in any.
        contents = Contents(acks=runs.setdefault((name.app, name.run), {}))
        found = _look(system, os.path.join(directory, text), name, contents)
        if found is not None:
            seen.append(found)
    return [each.facts() for each in seen]


def _look(system: System, path: str, name: SegmentName, contents: Contents) -> _Seen | None:
    try:
        fd = system.open(path, READ_ONLY)
        try:
            file = system.fstat(fd)
            if not S_ISREG(file.st_mode):
                return None
            locked = not system.lock(fd)
            header = contents.read_segment(system, fd)
        finally:
            system.close(fd)
    except OSError:
        return None
    return _Seen(path, name, file, locked, header, contents)
