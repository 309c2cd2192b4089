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
from collections.abc import Collection, Iterator
from contextlib import suppress

from msgspec import Struct

from .._ownership import Refusal, remove_unfinished, take_over
from ..files import is_private, unlink_if_there, write_all
from ..position import Position
from ..system import SYSTEM, System
from ._contents import Contents
from ._inspection import SegmentFacts, inspect
from ._names import BAD, parse_name, safe_name
from .frames import VERSION, encode_ack

__all__ = ["Recovered", "Refusals", "SegmentFacts", "adopt", "inspect"]


class Refusals(Struct):
    """What an adoption left alone, and why."""

    foreign: int = 0
    """Segments of another user, or a directory that others can write to."""
    newer: int = 0
    """Segments of a format version that this code does not know."""
    locked: int = 0
    """Segments whose owner lives."""
    unreadable: int = 0
    """Segments that the system would not open or read."""

    def note(self, refusal: Refusal) -> None:
        """Count a segment that was not taken over; one that is gone needs no counting."""
        self.foreign += refusal is Refusal.FOREIGN
        self.locked += refusal is Refusal.LOCKED
        self.unreadable += refusal is Refusal.UNREADABLE


class _Taken(Struct, frozen=True):
    path: str
    fd: int
    damaged: bool


class Recovered(Struct):
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
    _system: System
    _taken: list[_Taken]
    _keys: dict[str, list[bytes]]
    _rest: bool
    failures: int = 0

    def finish(self) -> None:
        """
        Remove the segments; call it when the pending lines are safe elsewhere.

        A damaged segment becomes `<name>.bad`. Where a destination that is not
        wanted now still has records in them, or they cannot be removed, the
        files stay, and what was taken is marked as acknowledged. Errors are
        counted in `failures`. Idempotent; after `release` it does nothing.
        """
        if not self._taken:
            return
        try:
            if self._rest or not self._remove():
                self._mark_taken()
        finally:
            self.release()

    def _remove(self) -> bool:
        try:
            for taken in self._taken:
                if taken.damaged:
                    self._system.rename(taken.path, taken.path + BAD)
                else:
                    unlink_if_there(self._system, taken.path)
            self._system.sync_directory(os.path.dirname(self._taken[0].path))
        except OSError:
            # The younger ones stay too: the acknowledgements of this one may
            # stand in them, and without these its records would come again.
            self.failures += 1
            return False
        return True

    def _mark_taken(self) -> None:
        fd = self._taken[-1].fd
        frames = [
            frame
            for destination, keys in self._keys.items()
            for frame in encode_ack(destination, None, keys)
        ]
        _, error = write_all(self._system, fd, b"".join(frames))
        if error is not None:
            self.failures += 1
        try:
            self._system.fdatasync(fd)
        except OSError:
            self.failures += 1

    def release(self) -> None:
        """Unlock the segments and leave them for another start. Idempotent."""
        while self._taken:
            try:
                self._system.close(self._taken.pop().fd)
            except OSError:
                self.failures += 1


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
    """Return the paths of each run, the oldest segment first."""
    try:
        names = system.listdir(directory)
        private = is_private(system, directory)
    except OSError:
        return []
    wanted = safe_name(app)
    runs: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        path = os.path.join(directory, name)
        facts = parse_name(name.removeprefix("."))
        if facts is None or facts.app != wanted:
            continue
        if name.startswith("."):
            # A failure leaves a file of no use behind; the next start tries again.
            with suppress(OSError):
                if private:
                    remove_unfinished(system, path)
        elif private:
            runs.setdefault(facts.run, []).append((facts.number, path))
        else:
            counts.foreign += 1
    return [(run, [path for _, path in sorted(found)]) for run, found in sorted(runs.items())]


def _adopt_run(
    system: System,
    run: str,
    paths: list[str],
    app: str,
    destinations: frozenset[str],
    counts: Refusals,
) -> Recovered | None:
    contents = Contents()
    taken: list[_Taken] = []
    whole = False
    try:
        whole = _take_all(system, paths, app, contents, taken, counts)
    finally:
        if not whole:
            for each in taken:
                with suppress(OSError):
                    system.close(each.fd)
    if not whole:
        return None
    pending = contents.pending()
    wanted = {name: found for name, found in pending.items() if name in destinations}
    recovered = Recovered(
        run=run,
        pending={name: [line for _, line in found] for name, found in wanted.items()},
        scan={name: contents.positions.get(name) for name in wanted},
        torn=contents.torn,
        bad=contents.bad,
        _system=system,
        _taken=taken,
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
    taken: list[_Taken],
    counts: Refusals,
) -> bool:
    for path in paths:
        fd = take_over(system, path)
        if isinstance(fd, Refusal):
            counts.note(fd)
            return False
        taken.append(_Taken(path, fd, damaged=False))
        bad = contents.bad
        try:
            header = contents.read_segment(system, fd)
        except OSError:
            counts.unreadable += 1
            return False
        if header is not None and header.version > VERSION:
            counts.newer += 1
            return False
        if header is not None and header.app != app:
            # Two applications may share a file name, where theirs had odd characters.
            return False
        taken[-1] = _Taken(path, fd, damaged=contents.bad > bad)
    return True
