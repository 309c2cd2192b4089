"""
The directory of held segments: making, finding, taking over and removing files.

Rule 1: only files with our prefix are looked at; those of another user, an
unknown version, another application or destination stay as they are.
Rule 2: an error that loses nothing is counted, not raised.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from .._ownership import READ_ONLY, Refusal, make_owned, remove_unfinished, take_over
from ..files import is_private, unlink_if_there, write_all
from ..position import Position
from ..system import PRIVATE_DIRECTORY, System
from ._format import (
    VERSION,
    Header,
    Line,
    decode_header,
    encode_header,
    is_import_name,
    is_segment_name,
    run_in_name,
    segment_name,
)
from ._segment import Segment

_NAME_ATTEMPTS: Final = 1000


class Directory:
    """
    Where the segments of one destination are.

    Args:
        system: Where the directory is.
        prefix: Its path and the beginning of the file names.
        app: The application.
        destination: The destination.
    """

    __slots__ = ("_app", "_base", "_destination", "_path", "_system", "failures", "refused")

    def __init__(self, system: System, prefix: str, *, app: str, destination: str) -> None:
        self._system = system
        self._path, self._base = os.path.split(os.path.abspath(prefix))
        self._app = app
        self._destination = destination
        self.refused = 0
        self.failures = 0

    def make(
        self, run: str, number: str, scan: Position | None, lines: Iterable[bytes] = ()
    ) -> Segment:
        """
        Make a segment; with *lines* it is on the disk on return.

        Raises:
            OSError: If it cannot be made; nothing is left behind then, if possible.
        """
        system = self._system
        head = encode_header(Header(self._app, self._destination, run, scan), system.getuid())
        data = head + b"".join(lines)

        def fill(fd: int) -> None:
            _, error = write_all(system, fd, data)
            if error is not None:
                raise error

        system.makedirs(self._path, PRIVATE_DIRECTORY)
        for attempt in range(1, _NAME_ATTEMPTS):
            path = os.path.join(self._path, segment_name(self._base, run, number, attempt))
            try:
                fd = make_owned(system, path, fill, durable=len(data) > len(head))
            except FileExistsError:
                continue
            return Segment(system, path, fd, run, scan, size=len(data), start=len(head))
        raise FileExistsError(errno.EEXIST, "no free name for a file of held lines", self._base)

    def take_over_all(self, known: set[str]) -> list[Segment] | None:
        """
        Take over the segments of dead owners, apart from the paths in *known*.

        Returns:
            The segments, not loaded yet; None when the directory cannot be read.
        """
        system = self._system
        try:
            names = system.listdir(self._path)
            private = is_private(system, self._path)
        except FileNotFoundError:
            return []
        except OSError:
            self.failures += 1
            return None
        found: list[Segment] = []
        for name in names:
            path = os.path.join(self._path, name)
            if not is_segment_name(name, self._base) or path in known:
                continue
            if not private:
                self.refused += 1
            elif not name.startswith(f"{self._base}."):
                # It never had its name, so what is in it is also where it came from.
                self._try(partial(remove_unfinished, system, path))
            elif (segment := self.take_over(path)) is not None:
                found.append(segment)
        return found

    def take_over(self, path: str) -> Segment | None:
        """Take over one segment, not loaded yet; None when it is not ours to take."""
        fd = take_over(self._system, path)
        if isinstance(fd, Refusal):
            self.refused += fd is Refusal.FOREIGN
            self.failures += fd is Refusal.UNREADABLE
            return None
        segment: Segment | None = None
        try:
            segment = self._adopted(path, fd)
        except OSError:
            self.failures += 1
        finally:
            if segment is None:
                with suppress(OSError):
                    self._system.close(fd)
        return segment

    def _adopted(self, path: str, fd: int) -> Segment | None:
        size = self._system.fstat(fd).st_size
        segment = Segment(self._system, path, fd, run_in_name(path, self._base), None, size)
        first = next(segment.lines(0), None)
        header = None if first is None else decode_header(first.data)
        if header is None:
            # Damage at the beginning costs no line behind it.
            return segment
        if not 1 <= header.version <= VERSION:
            self.refused += 1
            return None
        if (header.app, header.destination) != (self._app, self._destination):
            return None
        segment.run, segment.scan = header.run, header.scan
        return segment

    def imports(self, run: str) -> list[str]:
        """
        Return the paths of what has been imported for *run* and is not removed yet.

        Raises:
            OSError: If the directory cannot be read.
        """
        try:
            names = self._system.listdir(self._path)
        except FileNotFoundError:
            return []
        return [
            os.path.join(self._path, name)
            for name in names
            if is_import_name(name, self._base, run)
        ]

    def read(self, path: str) -> list[Line]:
        """
        Return the lines of a segment, whoever has it; none when it is gone.

        Raises:
            OSError: If it cannot be read.
        """
        system = self._system
        try:
            fd = system.open(path, READ_ONLY)
        except FileNotFoundError:
            return []
        try:
            return list(Segment(system, path, fd, "", None, system.fstat(fd).st_size).lines(0))
        finally:
            system.close(fd)

    def remove(self, segment: Segment) -> bool:
        """Remove a segment that holds nothing; False leaves it for the next time."""
        # Its lines are delivered: without this, only a power cut could bring them back.
        self._try(partial(self._system.fdatasync, segment.fd))
        if not self._try(partial(unlink_if_there, self._system, segment.path)):
            return False
        self._try(partial(self._system.sync_directory, self._path))
        self.let_go(segment)
        return True

    def let_go(self, segment: Segment) -> None:
        """Unlock a segment and leave it where it is."""
        self._try(partial(self._system.close, segment.fd))

    def _try(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except OSError:
            self.failures += 1
            return False
        return True
