"""
The input: files found, recognised by their content, unpacked and read as streams.

Rule 1: one line and one chunk are in memory at a time, whatever the size of the
file; a line longer than `MAX_LINE` is damage.
Rule 2: compression and kind are told by the first bytes, not by the name.
Rule 3: what cannot be read at all raises `UnusableError` with a sentence for people;
what can be read in part is read, and the rest is counted.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import click

from ._facts import FileFacts, Kind
from ._segments import HELD, MAGIC, Journal, acknowledged_before, read_held, read_journal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of the longest line that is read as a record; records are 64 KiB by default."""

PATIENCE: Final = 10_000
"""Lines without a record after which a file is taken for something else."""

_CHUNK: Final = 1024 * 1024
_DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_SEGMENTS: Final = (".j", ".held")

Progress = Callable[[int], None]


class UnusableError(Exception):
    """The input is no evidence: not there, not readable, or not a log of Hydra."""


class _Archive(io.RawIOBase):
    # A plain BufferedReader around an archive asks for a whole buffer at once and
    # gets nothing but the error when the archive ends too early within it.
    def __init__(self, packed: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile) -> None:
        self._packed = packed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._packed.seek(offset, whence)

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._packed.read1(len(view))
        view[: len(data)] = data
        return len(data)


def shown(path: str) -> str:
    """Return *path* with everything replaced that could act on a terminal."""
    name = click.format_filename(path)
    return "".join(c if c.isprintable() else "?" for c in name)


def find(arguments: Iterable[str]) -> tuple[list[str], bool]:
    """
    Return the files that *arguments* stand for, each once, and whether one is a directory.

    A directory stands for the journal and held segments in it and below it.

    Raises:
        UnusableError: If one does not exist or is neither a regular file nor a directory.
    """
    paths: list[str] = []
    seen: set[tuple[int, int]] = set()
    directory_given = False
    for argument in arguments:
        found = [argument]
        if os.path.isdir(argument):
            directory_given = True
            found = list(_segments_below(argument))
        for path in found:
            try:
                info = os.stat(path)
            except OSError as error:
                raise UnusableError(f"{shown(path)}: {error.strerror}") from error
            if not stat.S_ISREG(info.st_mode):
                raise UnusableError(f"{shown(path)}: not a regular file")
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                paths.append(path)
    return paths, directory_given


def _segments_below(directory: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise UnusableError(f"{shown(str(error.filename))}: {error.strerror}") from error

    for base, _, names in os.walk(directory, onerror=refuse):
        for name in sorted(names):
            if name.endswith(_SEGMENTS) and not name.startswith("."):
                yield os.path.join(base, name)


def read(path: str, progress: Progress) -> tuple[FileFacts, Journal | None]:
    """
    Return what the file at *path* says.

    Args:
        path: A regular file.
        progress: Called with the number of bytes read since the last call.

    Raises:
        UnusableError: If it cannot be opened, or holds no record at all.
    """
    facts = FileFacts(shown(path))
    try:
        with open(path, "rb") as raw:
            info = os.fstat(raw.fileno())
            facts.identity = (info.st_dev, info.st_ino)
            return _read_open(raw, path, facts, progress)
    except OSError as error:
        raise UnusableError(f"{facts.path}: {error.strerror or error}") from error


def _read_open(
    raw: io.BufferedReader, path: str, facts: FileFacts, progress: Progress
) -> tuple[FileFacts, Journal | None]:
    stream = _unpacked(raw, facts)
    try:
        head = stream.peek(16)[:16]
    except (*_DAMAGED, OSError) as error:
        raise UnusableError(
            f"{facts.path}: the compressed data cannot be read ({error})"
        ) from error
    facts.kind = _kind(head, path)
    if facts.kind == "journal":
        if stream is not raw:
            raise UnusableError(f"{facts.path}: a compressed journal segment; unpack it first")
        with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
            journal = read_journal(data, facts)
            progress(len(data))
            return facts, journal
    if facts.kind == "held":
        acknowledged = acknowledged_before(_lines(stream, FileFacts(facts.path)))
        stream.seek(0)
        read_held(_lines(stream, facts), acknowledged, facts)
    else:
        _read_log(stream, raw, facts, progress)
    return facts, None


def _kind(head: bytes, path: str) -> Kind:
    if head.startswith(MAGIC) or (path.endswith(".j") and head.startswith(b"\0")):
        return "journal"
    if head.startswith(HELD) or (path.endswith(".held") and head):
        return "held"
    return "log"


def _unpacked(raw: io.BufferedReader, facts: FileFacts) -> io.BufferedReader:
    magic = raw.peek(6)
    if magic.startswith(b"\x1f\x8b"):
        packed: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile = gzip.GzipFile(fileobj=raw)
    elif magic.startswith(b"BZh"):
        packed = bz2.BZ2File(raw)
    elif magic.startswith(b"\xfd7zXZ\0"):
        packed = lzma.LZMAFile(raw)  # noqa: SIM115 (closed with the file it reads from)
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        raise UnusableError(f"{facts.path}: compressed with zstd; unpack it first (zstd -d)")
    else:
        return raw
    return io.BufferedReader(_Archive(packed), _CHUNK)


def _lines(stream: io.BufferedReader, facts: FileFacts) -> Iterator[bytes]:
    readline = stream.readline
    while True:
        try:
            line = readline(MAX_LINE)
        except (*_DAMAGED, OSError) as error:
            # Damaged bzip2 data is an OSError too, one without a number.
            if getattr(error, "errno", None) is not None:
                raise
            facts.tear()
            facts.damage.append("the compressed data ends too early or is damaged")
            return
        if not line:
            return
        yield line


def _read_log(
    stream: io.BufferedReader, raw: io.BufferedReader, facts: FileFacts, progress: Progress
) -> None:
    take = facts.take
    due = _CHUNK
    taken = 0
    told = 0
    skipping = False
    for line in _lines(stream, facts):
        whole = line.endswith(b"\n") or len(line) < MAX_LINE
        if skipping or not whole:
            # The first piece of an overlong line counts as damage, the rest belongs to it.
            if not skipping:
                facts.tear()
            skipping = not whole
        else:
            take(line)
        taken += len(line)
        if taken >= due:
            due = taken + _CHUNK
            at = raw.tell()
            progress(at - told)
            told = at
        if not facts.entries and facts.torn + facts.foreign >= PATIENCE:
            break
    progress(raw.tell() - told)
    if not facts.entries and facts.torn + facts.foreign:
        raise UnusableError(f"{facts.path}: {_reason(facts)}")


def _reason(facts: FileFacts) -> str:
    if facts.foreign:
        return (
            "JSON lines without record ids; only the canonical lines that a destination "
            "with format json writes can be audited"
        )
    return (
        "no JSON records in it; a log in text or another format has no record ids and "
        "cannot be audited (use format json)"
    )
