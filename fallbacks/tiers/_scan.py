"""
Find out which lines stand in a file already, from a remembered place on.

Rule 1: only complete lines count; a line without its newline was torn.
Rule 2: memory is bounded by two blocks, whatever the file holds.
Rule 3: a wrong "not found" repeats a line, a wrong "found" loses it. Where a file
cannot be told for certain it is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from itertools import takewhile
from typing import Final, TypeAlias

from ..position import Position
from ..system import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, FileFacts, System
from ._lines import NEWLINE

BLOCK: Final = 1 << 20

Identify: TypeAlias = Callable[[bytes], bytes | None]
"""Returns the id of a line (newline included), or None when it has none."""


def scan_file(
    system: System,
    path: str,
    ids: AbstractSet[bytes],
    since: Position | None,
    identify: Identify,
) -> set[bytes]:
    """
    Return those of *ids* that stand in complete lines of the file at *path*.

    A file that was moved away meanwhile, as logrotate does, is found among the
    names that begin with *path* by its inode and read from *since* on; the file
    that took its place is then read whole. A file that is shorter than *since*
    says was cut, and is read whole too.

    Args:
        system: Where the file is.
        path: The file; a missing one has no lines.
        ids: What to look for. The search ends when all are found.
        since: Where to begin, or None to read the whole file.
        identify: Tells the id of a line; the id must stand in the line as it is.

    Raises:
        OSError: If a file is there and cannot be read.
    """
    found: set[bytes] = set()
    if not ids:
        return found
    with closing(lines_from(system, path, since, _shared_start(ids))) as lines:
        for line in lines:
            name = identify(line)
            if name is not None and name in ids:
                found.add(name)
                if len(found) == len(ids):
                    break
    return found


def lines_from(
    system: System, path: str, since: Position | None, mark: bytes = b""
) -> Generator[bytes, None, None]:
    """
    Yield the complete lines of the file at *path* from *since* on, as `scan_file` finds them.

    Args:
        system: Where the file is.
        path: The file; a missing one has no lines.
        since: Where to begin, or None to read the whole file.
        mark: Lines without it are not wanted; most of them are left out.

    Raises:
        OSError: If a file is there and cannot be read.
    """
    for place, offset in _places(system, path, since):
        yield from _lines_of(system, place, offset, mark)


def _places(system: System, path: str, since: Position | None) -> Iterator[tuple[str, int]]:
    if since is None:
        yield path, 0
        return
    try:
        facts = system.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        facts = None
    if facts is not None and _is_at(facts, since):
        yield path, since.offset if facts.st_size >= since.offset else 0
        return
    moved = _moved(system, path, since)
    if moved is not None:
        yield moved, since.offset
    yield path, 0


def _moved(system: System, path: str, since: Position) -> str | None:
    """Return the sibling whose name begins with *path*'s and that *since* is in."""
    directory, base = os.path.split(path)
    try:
        names = system.listdir(directory or ".")
    except (FileNotFoundError, NotADirectoryError):
        return None
    for name in names:
        if name == base or not name.startswith(base):
            continue
        sibling = os.path.join(directory, name)
        try:
            facts = system.lstat(sibling)
        except FileNotFoundError:
            continue
        if _is_at(facts, since) and facts.st_size >= since.offset:
            return sibling
    return None


def _is_at(facts: FileFacts, since: Position) -> bool:
    return (facts.st_dev, facts.st_ino) == (since.dev, since.ino)


def _lines_of(system: System, path: str, offset: int, mark: bytes) -> Generator[bytes, None, None]:
    try:
        fd = system.open(path, os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        yield from _lines(system, fd, offset, mark)
    finally:
        # What has been read is known, whatever becomes of the descriptor.
        with suppress(OSError):
            system.close(fd)


def _shared_start(ids: AbstractSet[bytes]) -> bytes:
    """Return what all of *ids* begin with."""
    first, last = min(ids), max(ids)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return first[: sum(1 for _ in same)]


def _lines(system: System, fd: int, offset: int, mark: bytes = b"") -> Iterator[bytes]:
    """
    Yield the complete lines from *offset* on, leaving out those over a block long.

    Most of a block without *mark* is left out too: after a crash the file behind
    *offset* may be long, and splitting it into lines takes a hundred times as
    long as looking for the run whose lines are wanted.
    """
    carry = b""
    skipping = False
    while block := system.pread(fd, BLOCK, offset):
        offset += len(block)
        head, newline, rest = block.partition(NEWLINE)
        if not newline:
            carry += head
            if len(carry) > BLOCK:
                carry, skipping = b"", True
            continue
        if not skipping:
            yield carry + head + newline
        skipping = False
        complete, newline, carry = rest.rpartition(NEWLINE)
        if newline and mark in complete:
            yield from (line + NEWLINE for line in complete.split(NEWLINE))
