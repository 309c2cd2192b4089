"""
Journal frames: bytes in, facts out, and back. No I/O.

Rule 1: a frame stands on its own: magic, kind, CRC, length, payload. No index
and no position outside the frames is trusted.
Rule 2: reading never raises on any bytes and holds one window in memory; what
cannot be read is skipped up to the next magic, and counted.
Rule 3: a frame that was cut short is *torn*, which the death of a process may
do; anything else that is wrong is *bad*, which only damage does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from itertools import repeat
from typing import Final, TypeAlias
from zlib import crc32

from msgspec import Struct

from ..position import Position

VERSION: Final = 1
MAGIC: Final = b"\nJ1 "
LONGEST: Final = 4 * 1024 * 1024
"""The longest payload in bytes that a reader accepts."""
DESTINATION: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")

_WINDOW: Final = 1024 * 1024
_HEAD: Final = re.compile(rb"\nJ1 ([HRA]) ([0-9a-f]{8}) ([0-9]{1,8}) ")
_PARTIAL_HEAD: Final = re.compile(rb"\nJ1( ([HRA]( ([0-9a-f]{1,8}( [0-9]{0,8})?)?)?)?)?\Z")
_LONGEST_HEAD: Final = len(MAGIC) + 2 + 9 + 9
_EMPTY: Final = b"\0\n"
_ACK_TARGETS: Final = 2000
_RECORD_SEED: Final = crc32(b"R")


class FrameKind(Enum):
    """What a frame says."""

    HEADER = b"H"
    RECORD = b"R"
    ACKNOWLEDGEMENT = b"A"


class Frame(Struct, frozen=True):
    """A frame that was read whole; *start* and *end* are its place in the file."""

    kind: FrameKind
    payload: bytes
    start: int
    end: int


class Range(Struct, frozen=True):
    """The numbers *first* to *last* of the stream *stream* (`<run>.<stream>`)."""

    stream: bytes
    first: int
    last: int


class Acknowledgement(Struct, frozen=True):
    """The records in *ranges* are at *destination*, whose file reached *position*."""

    destination: str
    position: Position | None
    ranges: tuple[Range, ...]


class Header(Struct, frozen=True):
    """Who made a segment. *version* above `VERSION` means: hands off."""

    app: str
    uid: int
    boot: str
    pidns: str
    pid: int
    run: str
    segment: int
    destinations: tuple[str, ...]
    version: int = VERSION


def encode_frame(kind: FrameKind, payload: bytes) -> bytes:
    """Return the frame of *payload*, which must not contain the magic."""
    checksum = crc32(payload, crc32(kind.value))
    return b"\nJ1 %b %08x %d %b\n" % (kind.value, checksum, len(payload), payload)


def encode_record(tag: bytes, line: bytes) -> bytes:
    """
    Return the frame of one record.

    Args:
        tag: The destinations that shall get it, joined by commas.
        line: The line, with or without its newline.
    """
    if not line.endswith(b"\n"):
        return encode_frame(FrameKind.RECORD, b"%b %b" % (tag, line))
    # The line's own newline ends the frame, which spares a copy per record.
    body = b"%b %b" % (tag, line)
    size = len(body) - 1
    return b"\nJ1 R %08x %d %b" % (crc32(memoryview(body)[:size], _RECORD_SEED), size, body)


def decode_record(payload: bytes) -> tuple[tuple[str, ...], bytes] | None:
    """Return the destinations and the line, newline included; None if it is no record."""
    tag, space, line = payload.partition(b" ")
    names = tag.decode("ascii", "replace").split(",")
    if not space or not line or b"\n" in line:
        return None
    if not all(DESTINATION.match(name) for name in names):
        return None
    return tuple(names), line + b"\n"


def encode_ack(destination: str, position: Position | None, ids: Iterable[bytes]) -> list[bytes]:
    """
    Return the frames that acknowledge *ids* at *destination*; more than one if they are many.

    Ids have the form `<run>.<stream>-<n>`.

    Raises:
        ValueError: If an id has another form.
    """
    targets = [
        b"%b:%d" % (r.stream, r.first)
        if r.first == r.last
        else b"%b:%d-%d" % (r.stream, r.first, r.last)
        for r in ranges_of(ids)
    ]
    parts = [targets[at : at + _ACK_TARGETS] for at in range(0, len(targets), _ACK_TARGETS)]
    # The place stands in the last frame: without it, the ids in it are looked for
    # behind an earlier place and found.
    places = [None] * (len(parts) - 1) + [position]
    return [
        encode_frame(FrameKind.ACKNOWLEDGEMENT, _ack_head(destination, place) + b",".join(part))
        for place, part in zip(places, parts, strict=False)
    ]


def encode_place(destination: str, position: Position) -> bytes:
    """Return the frame that acknowledges nothing, but says how far a file reaches."""
    return encode_frame(FrameKind.ACKNOWLEDGEMENT, _ack_head(destination, position))


def _ack_head(destination: str, position: Position | None) -> bytes:
    place = "-" if position is None else f"{position.dev}:{position.ino}:{position.offset}"
    return f"{destination} {place} ".encode()


def ranges_of(ids: Iterable[bytes]) -> list[Range]:
    """Return *ids* as few ranges, by stream and number."""
    numbers: dict[bytes, set[int]] = {}
    for name in ids:
        stream, _, number = name.rpartition(b"-")
        if not stream or not number.isdigit() or b"," in stream or b" " in stream:
            raise ValueError(f"an id must look like run.stream-number, not {name!r}")
        numbers.setdefault(stream, set()).add(int(number))
    found: list[Range] = []
    for stream, members in numbers.items():
        firsts = sorted(n for n in members if n - 1 not in members)
        lasts = sorted(n for n in members if n + 1 not in members)
        found += map(Range, repeat(stream), firsts, lasts)
    return found


def decode_ack(payload: bytes) -> Acknowledgement | None:
    """Return what *payload* acknowledges; None if it is no acknowledgement."""
    parts = payload.decode("ascii", "replace").split(" ")
    if len(parts) != 3 or not DESTINATION.match(parts[0]):
        return None
    try:
        position = None if parts[1] == "-" else Position(*map(_number, parts[1].split(":")))
        ranges = tuple(_range(target) for target in parts[2].split(",") if target)
    except (ValueError, TypeError):
        return None
    return Acknowledgement(parts[0], position, ranges)


def _number(text: str) -> int:
    # int() takes "+1", "1_0" and digits of any script; a frame has none of these.
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(text)
    return int(text)


def _range(target: str) -> Range:
    stream, _, numbers = target.rpartition(":")
    first, dash, last = numbers.partition("-")
    if not stream:
        raise ValueError(target)
    start = _number(first)
    return Range(stream.encode(), start, _number(last) if dash else start)


def encode_header(header: Header) -> bytes:
    """Return the frame that opens a segment."""
    facts: dict[str, object] = {
        "version": header.version,
        "app": header.app,
        "uid": header.uid,
        "boot": header.boot,
        "pidns": header.pidns,
        "pid": header.pid,
        "run": header.run,
        "segment": header.segment,
        "destinations": list(header.destinations),
    }
    return encode_frame(FrameKind.HEADER, json.dumps(facts, separators=(",", ":")).encode())


def decode_header(payload: bytes) -> Header | None:
    """Return the header, or None if it cannot be understood."""
    try:
        facts: object = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None
    version, destinations = facts.get("version"), facts.get("destinations")
    if not isinstance(version, int) or isinstance(version, bool):
        return None
    if version > VERSION:
        return Header("", 0, "", "", 0, "", 0, (), version)
    texts = [facts.get(key) for key in ("app", "boot", "pidns", "run")]
    numbers = [facts.get(key) for key in ("uid", "pid", "segment")]
    if not all(isinstance(text, str) for text in texts) or not all(map(_is_whole, numbers)):
        return None
    if not isinstance(destinations, list) or not all(isinstance(d, str) for d in destinations):
        return None
    return Header(
        app=facts["app"],
        uid=facts["uid"],
        boot=facts["boot"],
        pidns=facts["pidns"],
        pid=facts["pid"],
        run=facts["run"],
        segment=facts["segment"],
        destinations=tuple(destinations),
        version=version,
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


Reader: TypeAlias = Callable[[int, int], bytes]
"""Returns the bytes from a start up to a stop, fewer at the end of the data."""


class Scan:
    """
    An iterator over the whole frames of some data; afterwards, what was skipped.

    Args:
        read: Gives the bytes between two offsets.
        size: Where the data ends.
    """

    __slots__ = ("_broken", "_read", "_size", "bad", "torn")

    def __init__(self, read: Reader, size: int) -> None:
        self._read = read
        self._size = size
        # Whether what is being skipped belongs to a frame that was counted already.
        self._broken = False
        self.torn = 0
        self.bad = 0

    def __iter__(self) -> Iterator[Frame]:
        base, window = 0, b""
        at = 0
        while True:
            found = window.find(MAGIC, at - base)
            if found < 0:
                # The last bytes may be the beginning of a magic.
                keep = max(at, base + len(window) - len(MAGIC) + 1)
                fresh = self._read(base + len(window), min(self._size, keep + _WINDOW))
                if not fresh:
                    self._note_garbage(window[at - base :], last=True)
                    return
                self._note_garbage(window[at - base : keep - base], last=False)
                window = window[keep - base :] + fresh
                base = at = keep
                continue
            self._note_garbage(window[at - base : found], last=False)
            self._broken = False
            at = base + found
            window, base = self._refill(window, base, at, _LONGEST_HEAD)
            head = _HEAD.match(window, at - base)
            if head is None or int(head[3]) > LONGEST:
                at = self._skip_head(window, base, at)
                continue
            size = int(head[3])
            start = base + head.end()
            window, base = self._refill(window, base, at, start - at + size + 1 + len(MAGIC))
            payload = window[start - base : start - base + size]
            ending = window[start - base + size : start - base + size + 1]
            if ending == b"\n" and crc32(payload, crc32(head[1])) == int(head[2], 16):
                yield Frame(FrameKind(head[1]), payload, at, start + size + 1)
                at = start + size + 1
                # A short write may have lacked this newline only; then it is the
                # first byte of the next frame.
                if window.startswith(MAGIC, at - 1 - base):
                    at -= 1
                continue
            at = self._skip_body(window, base, at, start, start + size + 1)

    def _refill(self, window: bytes, base: int, at: int, size: int) -> tuple[bytes, int]:
        """Return a window that holds *size* bytes from *at*, if the data does."""
        if at - base + size <= len(window) or base + len(window) >= self._size:
            return window, base
        return self._read(at, min(self._size, at + max(size, _WINDOW))), at

    def _skip_head(self, window: bytes, base: int, at: int) -> int:
        """Count a frame whose head is wrong, and return where to look on."""
        self._broken = True
        head = window[at - base : at - base + _LONGEST_HEAD]
        stop = head.find(MAGIC, 1)
        written = head if stop < 0 else head[:stop]
        # A copy that death cut short need not have gone from front to back: a
        # frame holds no NUL, so where there is one nothing has been written yet.
        written, hole, _ = written.partition(b"\0")
        if hole or _PARTIAL_HEAD.match(written if stop < 0 else written.rstrip(_EMPTY)):
            self.torn += 1
            return at + (len(head) if stop < 0 else stop)
        self.bad += 1
        return at + len(MAGIC)

    def _skip_body(self, window: bytes, base: int, at: int, start: int, end: int) -> int:
        """Count a frame whose payload is wrong, and return where to look on."""
        self._broken = True
        body = window[start - base : end - base]
        # The next magic may begin on the last bytes that the length covers.
        following = window.find(MAGIC, start - base, end - base + len(MAGIC) - 1)
        if following >= 0:
            self.torn += 1
            return base + following
        if len(body) < end - start or b"\0" in body:
            self.torn += 1
        else:
            self.bad += 1
        # Nothing in it is a frame, but its last bytes may begin the next magic.
        return max(at + len(MAGIC), start + len(body) - len(MAGIC) + 1)

    def _note_garbage(self, skipped: bytes, *, last: bool) -> None:
        junk = skipped.strip(_EMPTY)
        if not junk or self._broken:
            return
        # Behind NULs it is the end of a frame whose beginning was never written.
        unwritten = skipped.lstrip(b"\n").startswith(b"\0")
        if unwritten or (last and (b"\n" + junk) in (MAGIC[:2], MAGIC[:3])):
            self.torn += 1
        else:
            self.bad += 1


def parse(data: bytes) -> Scan:
    """Return the scan of *data* that is in memory already."""
    return Scan(lambda start, stop: data[start:stop], len(data))
