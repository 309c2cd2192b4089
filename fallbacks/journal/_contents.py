"""
The contents of a run's segments: records, what of them is acknowledged, what is pending.

Rule 1: the order of segments does not matter to what is pending; a record and
its acknowledgement may stand in different ones, in either order.
Rule 2: what cannot be read is counted and passed over.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final, TypeAlias

from msgspec import Struct, field

from ..position import Position
from ..system import System
from .frames import (
    VERSION,
    Acknowledgement,
    FrameKind,
    Header,
    Scan,
    decode_ack,
    decode_header,
    decode_record,
)

# What an acknowledgement can name; another id could never be settled.
_KEY: Final = re.compile(rb"[^ ,\n]+-[0-9]{1,18}\Z")

Span: TypeAlias = tuple[int, int]
Acks: TypeAlias = dict[str, dict[bytes, list[Span]]]
"""The acknowledged numbers by destination and stream."""


class Contents(Struct):
    """What segments of one run say, put together frame by frame."""

    records: dict[bytes, tuple[tuple[str, ...], bytes]] = field(default_factory=dict)
    acks: Acks = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    torn: int = 0
    bad: int = 0
    rebooted: bool = False
    """Whether the machine was started anew since: a file may lack what was only in memory."""

    def read_segment(self, system: System, fd: int) -> Header | None:
        """
        Take in the frames of one segment and return its header, if it is whole.

        Of a segment of a newer version only the header is read.

        Raises:
            OSError: If the file cannot be read.
        """
        header: Header | None = None
        size = system.fstat(fd).st_size
        scan = Scan(lambda start, stop: system.pread(fd, stop - start, start), size)
        for frame in scan:
            if frame.kind is FrameKind.HEADER:
                header = header or decode_header(frame.payload)
                if header is not None and header.version > VERSION:
                    return header
                self.rebooted = header is not None and header.boot != system.boot_id()
            elif frame.kind is FrameKind.RECORD:
                self._add_record(decode_record(frame.payload))
            else:
                self._add_ack(decode_ack(frame.payload))
        self.torn += scan.torn
        self.bad += scan.bad
        return header

    def _add_record(self, record: tuple[tuple[str, ...], bytes] | None) -> None:
        key = None if record is None else key_of(record[1])
        if record is None or key is None or not _KEY.match(key):
            self.bad += 1
            return
        # One that comes again is kept once, for all destinations of either.
        names, line = self.records.get(key, record)
        self.records[key] = (tuple(dict.fromkeys(names + record[0])), line)

    def _add_ack(self, ack: Acknowledgement | None) -> None:
        if ack is None:
            self.bad += 1
            return
        if ack.position is not None:
            if self.rebooted:
                # It was in the page cache of a machine that is gone. What the file
                # has nevertheless is found there by its id.
                return
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
            for name in names:
                if not _covers(merged.get(name, {}).get(stream, []), int(number)):
                    found.setdefault(name, []).append((key, line))
        return found


def key_of(line: bytes) -> bytes | None:
    """Return the id of a line whose last key is `id`; None if it has none."""
    start = line.rfind(b',"id":"')
    stop = line.find(b'"', start + 7)
    return line[start + 7 : stop] if start >= 0 and stop >= 0 else None


def _merge(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _covers(spans: list[Span], n: int) -> bool:
    at = bisect_right(spans, n, key=lambda span: span[0])
    return at > 0 and n <= spans[at - 1][1]
