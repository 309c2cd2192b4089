"""
Dead letters: lines that a destination refuses for good, kept aside for a person to look at.

Rule 1: a letter is one line of JSON with its line in it, byte for byte; it needs
nothing before or behind it, so a torn one costs itself only.
Rule 2: letters are appended by any process at any time, without a lock. Who takes
them away renames the file first: an appender that finds its file renamed cannot
know whether it was in time, and writes again. Twice is possible, never is not.
Rule 3: a line that was kept twice counts once.
Rule 4: what is of another user, no regular file or of a newer version is left alone.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from ._ownership import Refusal, take_over
from .clock import SYSTEM_CLOCK, Clock
from .files import ends_with_newline, open_append, unlink_if_there, write_all
from .system import SYSTEM, System

VERSION: Final = 1
SUFFIX: Final = ".dead"
QUOTA: Final = 16 * 1024 * 1024
"""Bytes that the letters of one destination may have."""

_MARK: Final = "dead"
_TAKEN: Final = re.compile(r"\.dead-[0-9a-f]{12}$")
_READ: Final = 1024 * 1024
_ATTEMPTS: Final = 8
_LONGEST_REASON: Final = 500
# A line is 64 KiB unless somebody raised that, and a byte of it six in JSON.
_LONGEST_LETTER: Final = 16 * 1024 * 1024


class Letter(Struct, frozen=True):
    """
    A line that was refused for good.

    Args:
        line: The line, exactly as the destination was given it.
        id: Its id; empty when it has none.
        tier: The name of the tier that refused it.
        reason: What the tier said.
        time: When, in nanoseconds since the epoch.
        app: Whose it is.
        destination: Whom it was for.
    """

    line: bytes
    id: str
    tier: str
    reason: str
    time: int
    app: str = ""
    destination: str = ""


class Contents(Struct, frozen=True):
    """
    What a file of dead letters says: each line once, the oldest first.

    `torn` lines are no letters; `newer` ones are of a version that is not known here.
    """

    letters: tuple[Letter, ...]
    torn: int = 0
    newer: int = 0


class DeadLetters:
    """
    Keep the dead letters of one destination. Holds no descriptor between two calls.

    Args:
        prefix: Path and beginning of the file name; `.dead` is put behind it.
        app: The application.
        destination: The destination.
        quota: Bytes that the letters may have; at the quota nothing more is kept.
        system: Where the file is.
        clock: Stamps the letters.
    """

    def __init__(
        self,
        prefix: str,
        *,
        app: str,
        destination: str,
        quota: int = QUOTA,
        system: System = SYSTEM,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.path = os.path.abspath(prefix) + SUFFIX
        self.kept = 0
        """Lines kept aside so far."""
        self.failures = 0
        """Times that keeping aside failed."""
        self.last_error: OSError | None = None
        self._app = app
        self._destination = destination
        self._quota = quota
        self._system = system
        self._clock = clock

    def keep(self, lines: Sequence[tuple[bytes, str, str, str]]) -> int:
        """
        Keep *lines* aside, each with its id, the tier that refused it, and why.

        Returns:
            How many of them, from the front, the kernel has now. Fewer than given
            when the quota is reached or the system fails; `last_error` says which.
        """
        now = self._clock.time_ns()
        encoded = [
            encode(Letter(line, key, tier, reason, now, self._app, self._destination))
            for line, key, tier, reason in lines
        ]
        try:
            kept = self._append(encoded)
        except OSError as error:
            kept, self.last_error = 0, error
        self.kept += kept
        self.failures += kept < len(lines)
        return kept

    def _append(self, encoded: list[bytes]) -> int:
        room = self._quota - sum(size for _, size in self._files())
        fits = []
        for each in encoded:
            room -= len(each)
            # One byte for the newline that may have to end a torn letter.
            if room <= 0:
                self.last_error = OSError(
                    errno.EDQUOT, f"the quota of {self._quota} bytes is used up", self.path
                )
                break
            fits.append(each)
        return self._write(fits) if fits else 0

    def _files(self) -> Iterable[tuple[str, int]]:
        for path in paths(self._system, self.path.removesuffix(SUFFIX)):
            try:
                yield path, self._system.lstat(path).st_size
            except FileNotFoundError:
                continue

    def _write(self, encoded: list[bytes]) -> int:
        system = self._system
        for _ in range(_ATTEMPTS):
            fd = open_append(system, self.path)
            try:
                facts = system.fstat(fd)
                if facts.st_uid != system.getuid():
                    raise PermissionError(errno.EPERM, "belongs to another user", self.path)
                torn = not ends_with_newline(system, self.path, facts.st_size)
                data = b"\n" * torn + b"".join(encoded)
                written, error = write_all(system, fd, data)
                if error is not None:
                    self.last_error = error
                if self._is_named(fd):
                    return _whole(encoded, written - torn)
            finally:
                system.close(fd)
        raise FileNotFoundError(errno.ENOENT, "taken away again and again", self.path)

    def _is_named(self, fd: int) -> bool:
        try:
            named = self._system.lstat(self.path)
        except FileNotFoundError:
            return False
        facts = self._system.fstat(fd)
        return (named.st_dev, named.st_ino) == (facts.st_dev, facts.st_ino)


def _whole(encoded: list[bytes], written: int) -> int:
    """Return how many of *encoded* are within the first *written* bytes."""
    count = 0
    for each in encoded:
        written -= len(each)
        if written < 0:
            break
        count += 1
    return count


def encode(letter: Letter) -> bytes:
    """Return *letter* as a line of JSON, ASCII only."""
    facts = {
        "hydra": _MARK,
        "version": VERSION,
        "time": letter.time,
        "app": letter.app,
        "destination": letter.destination,
        "tier": letter.tier,
        "reason": letter.reason[:_LONGEST_REASON],
        "id": letter.id,
        # Bytes that are no UTF-8 become lone surrogates, and bytes again.
        "line": letter.line.decode("utf-8", "surrogateescape"),
    }
    return json.dumps(facts, separators=(",", ":")).encode("ascii") + b"\n"


def decode(data: bytes) -> Letter | int | None:
    """Return the letter in *data*, its version if that is a newer one, or None if it is none."""
    try:
        facts: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or facts.get("hydra") != _MARK:
        return None
    version = facts.get("version")
    if isinstance(version, int) and version > VERSION:
        return version
    texts = [facts.get(key) for key in ("line", "id", "tier", "reason", "app", "destination")]
    time = facts.get("time")
    if not isinstance(time, int) or not all(isinstance(text, str) for text in texts):
        return None
    line, key, tier, reason, app, destination = map(str, texts)
    try:
        raw = line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return Letter(raw, key, tier, reason, time, app, destination)


def paths(system: System, prefix: str) -> list[str]:
    """
    Return the files with letters under *prefix*, those left by an interrupted replay first.

    Raises:
        OSError: If the directory cannot be read.
    """
    directory, base = os.path.split(os.path.abspath(prefix))
    try:
        names = system.listdir(directory)
    except FileNotFoundError:
        return []
    return [
        os.path.join(directory, name)
        for name in sorted(names, reverse=True)
        if prefix_of(name) == base
    ]


def prefix_of(name: str) -> str | None:
    """Return what stands before the suffix in the *name* of a file of letters; None for others."""
    taken = _TAKEN.search(name)
    if taken is not None:
        return name[: taken.start()]
    return name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else None


def read(system: System, path: str) -> Contents:
    """
    Return what is in the file at *path*.

    Raises:
        OSError: If it cannot be read, or is no regular file of our own user.
    """
    fd = take_over_unlocked(system, path)
    try:
        return _read(system, fd)
    finally:
        system.close(fd)


def take_over_unlocked(system: System, path: str) -> int:
    """
    Open the file at *path* and lock it, if it is one of our own.

    Raises:
        OSError: If it is not, or if somebody replays it at this moment.
    """
    fd = take_over(system, path)
    if fd is Refusal.GONE:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if fd is Refusal.LOCKED:
        raise BlockingIOError(errno.EAGAIN, "is being replayed", path)
    if isinstance(fd, Refusal):
        raise PermissionError(errno.EPERM, "is no file of ours, or cannot be read", path)
    return fd


def _read(system: System, fd: int) -> Contents:
    found: dict[bytes, Letter] = {}
    torn = newer = 0
    for line in _lines(system, fd):
        letter = decode(line) if line else None
        if isinstance(letter, Letter):
            found[letter.line] = letter
        elif letter is not None:
            newer += 1
        else:
            torn += bool(line)
    return Contents(tuple(found.values()), torn, newer)


def _lines(system: System, fd: int) -> Iterator[bytes]:
    """Yield the lines of a file, without their newlines; one too long to be a letter in pieces."""
    rest, at = b"", 0
    while piece := system.pread(fd, _READ, at):
        at += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LETTER:
            yield rest
            rest = b""
    yield rest


class Taken:
    """
    A file of letters in hand: locked, and under a name that no appender writes to.

    Call `finish` when all its letters are safe elsewhere, else `release`: then the
    next one who takes letters finds it.

    Raises:
        OSError: If it cannot be taken.
    """

    def __init__(self, system: System, path: str) -> None:
        self._system = system
        self._fd = take_over_unlocked(system, path)
        try:
            if path.endswith(SUFFIX):
                path, named = f"{path}-{os.urandom(6).hex()}", path
                system.rename(named, path)
            self.path = path
            self.contents = _read(system, self._fd)
        except BaseException:
            self.release()
            raise

    def finish(self) -> None:
        """Remove the file. Torn letters in it are kept, under the name `<name>.bad`."""
        try:
            if self.contents.torn:
                self._system.rename(self.path, f"{self.path}.bad")
            else:
                unlink_if_there(self._system, self.path)
        finally:
            self.release()

    def release(self) -> None:
        """Unlock the file and leave it. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._system.close(fd)
