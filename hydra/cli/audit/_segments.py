"""
Journal and held segments, read for what they prove about the files beside them.

Rule 1: this reads the published formats and shares no code with what writes
them. An auditor that shares the writer's code shares its mistakes.
Rule 2: pure; bytes-like in, facts out. Damaged frames are skipped and counted.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol
from zlib import crc32

import msgspec

from ._facts import FileFacts, RunFacts
from ._intervals import IntervalSet
from ._lines import is_key, name_of, number_of, read_line

MAGIC: Final = b"\nJ1 "
HELD: Final = b'{"hydra":'
_FRAME = re.compile(rb"\nJ1 ([HRA]) ([0-9a-f]{8}) ([0-9]{1,9}) ")
_LONGEST_HEAD = 64


class Buffer(Protocol):
    """What is needed of bytes or a memory map."""

    def find(self, sub: bytes, start: int, /) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...
    def __len__(self) -> int: ...


class _Scan(msgspec.Struct):
    dev: int
    ino: int


class _HeldHeader(msgspec.Struct):
    destination: str = ""
    run: str = ""
    scan: _Scan | None = None


class _Ack(msgspec.Struct):
    hydra: str = ""
    offset: int = 0


class _JournalHeader(msgspec.Struct):
    run: str = ""
    destinations: list[str] = []


@dataclass(slots=True)
class Journal:
    """
    What a journal segment says, by destination.

    Args:
        facts: The file itself; its `damage` says how many frames were skipped.
        records: Numbers per destination and `<run>.<stream>`.
        written: Those acknowledged with a position in a file.
        elsewhere: Those acknowledged without one.
        aims: The files that acknowledgements name, by destination.
    """

    facts: FileFacts
    run: str = ""
    records: dict[str, dict[str, IntervalSet]] = field(default_factory=dict)
    written: dict[str, dict[str, IntervalSet]] = field(default_factory=dict)
    elsewhere: dict[str, dict[str, IntervalSet]] = field(default_factory=dict)
    aims: dict[str, set[tuple[int, int]]] = field(default_factory=dict)

    def destinations(self) -> set[str]:
        """Return every destination that the segment has something for."""
        return {*self.records, *self.written, *self.elsewhere}

    def destined(self, destination: str) -> dict[str, RunFacts]:
        """Return, by run, what the segment says about *destination*."""
        runs: dict[str, RunFacts] = {}
        for table, place in (
            (self.records, "held"),
            (self.written, "written"),
            (self.elsewhere, "elsewhere"),
        ):
            for key, numbers in table.get(destination, {}).items():
                name, _, stream = key.partition(".")
                run = runs.setdefault(name, RunFacts(journaled=True))
                getattr(run.stream(stream), place).update(numbers)
        if self.run:
            runs.setdefault(self.run, RunFacts(journaled=True))
        return runs


def read_journal(data: Buffer, facts: FileFacts) -> Journal:
    """Return what the journal segment *data* says; *facts* is its entry in the report."""
    journal = Journal(facts)
    damaged = 0
    at = data.find(MAGIC, 0)
    while at >= 0:
        frame = _FRAME.match(data[at : at + _LONGEST_HEAD])
        end = at + len(MAGIC)
        if frame is not None:
            kind, checksum, length = frame[1], int(frame[2], 16), int(frame[3])
            begin = at + frame.end()
            payload = data[begin : begin + length]
            if len(payload) == length and crc32(kind + payload) == checksum:
                _take_frame(journal, kind, payload)
                end = begin + length
                frame_is_whole = True
            else:
                frame_is_whole = False
        else:
            frame_is_whole = False
        damaged += not frame_is_whole
        at = data.find(MAGIC, end)
    if damaged:
        facts.damage.append(f"{damaged} damaged journal frame{'s' * (damaged > 1)} skipped")
    return journal


def _take_frame(journal: Journal, kind: bytes, payload: bytes) -> None:
    if kind == b"R":
        names, _, line = payload.partition(b" ")
        for entry in read_line(line).entries:
            journal.facts.entries += 1
            for name in _names(names):
                _add(journal.records, name, entry.key, entry.number, entry.number)
    elif kind == b"A":
        _take_acknowledgement(journal, payload.decode("ascii", "replace"))
    else:
        try:
            header = msgspec.json.decode(payload, type=_JournalHeader)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            journal.facts.damage.append("the header of the journal segment cannot be read")
            return
        journal.run = header.run if is_key(f"{header.run}.1g") else ""
        journal.facts.names.update(_names(",".join(header.destinations).encode()))


def _take_acknowledgement(journal: Journal, text: str) -> None:
    name, _, rest = text.partition(" ")
    position, _, ranges = rest.partition(" ")
    if name_of(name) is None:
        return
    table = journal.elsewhere
    parts = position.split(":")
    if len(parts) == 3 and all(part.isascii() and part.isdecimal() for part in parts):
        table = journal.written
        journal.aims.setdefault(name, set()).add((int(parts[0][:20]), int(parts[1][:20])))
    for each in ranges.split(","):
        key, _, numbers = each.strip().partition(":")
        first, _, last = numbers.partition("-")
        low, high = number_of(first or "0"), number_of(last or first or "0")
        if is_key(key) and 1 <= low <= high:
            _add(table, name, key, low, high)


def _add(
    table: dict[str, dict[str, IntervalSet]], name: str, key: str, first: int, last: int
) -> None:
    table.setdefault(name, {}).setdefault(key, IntervalSet()).add_range(first, last)


def _names(names: bytes) -> list[str]:
    parts = names.decode("ascii", "replace").split(",")
    return [name for name in parts if name_of(name) is not None]


def acknowledged_before(lines: Iterable[bytes]) -> int:
    """Return the offset up to which the held segment made of *lines* has been replayed."""
    offset = end = 0
    ends = array("Q")
    for line in lines:
        start, end = end, end + len(line)
        if not line.endswith(b"\n"):
            continue
        ends.append(end)
        if line.startswith(HELD):
            try:
                ack = msgspec.json.decode(line, type=_Ack)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            # It can only speak of what was there before it, and of whole lines: anywhere else the
            # number is damaged. A torn last line got its newline afterwards.
            if ack.hydra == "ack" and offset < ack.offset <= start:
                at = bisect_left(ends, ack.offset)
                if ends[at] - ack.offset in {0, 1}:
                    offset = ack.offset
    return offset


def read_held(lines: Iterable[bytes], acknowledged: int, facts: FileFacts) -> None:
    """
    Take the held segment made of *lines* into *facts*.

    Args:
        lines: All lines from the first byte on.
        acknowledged: What `acknowledged_before` says about the same lines.
        facts: The file's entry in the report.
    """
    offset = 0
    for line in lines:
        start, offset = offset, offset + len(line)
        if line.startswith(HELD):
            if start == 0:
                _take_header(line, facts)
            continue
        reading = read_line(line)
        facts.torn += reading.torn
        facts.foreign += reading.foreign
        for entry in reading.entries:
            facts.entries += 1
            run, stream = facts.place(entry)
            if start < acknowledged:
                run.stream(stream).written.add(entry.number)
                continue
            run.stream(stream).held.add(entry.number)
            if stream.endswith("c"):
                facts.declare(run, stream, entry)


def _take_header(line: bytes, facts: FileFacts) -> None:
    try:
        header = msgspec.json.decode(line, type=_HeldHeader)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        facts.damage.append("the header of the held segment cannot be read")
        return
    if name_of(header.destination) is not None:
        facts.names.add(header.destination)
    if header.scan is not None:
        facts.aims = (header.scan.dev, header.scan.ino)
