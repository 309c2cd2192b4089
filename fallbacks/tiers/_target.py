"""
The file that a tier appends to: what is open, what is there now, what to do.

Rule 1: the sync and the async tier share this, so that both decide alike; they
differ in who makes the calls that may block.
Rule 2: what is compared is what the descriptor leads to, not what it once did. A
program that closes every descriptor may have put another file under the number.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ..files import ends_torn, open_append, write_all
from ..outcomes import DELIVERED, Outcome, Retryable
from ..position import Position
from ..system import FileFacts, System
from ._append import WANTED, append_known
from ._lines import NEWLINE, is_torn, judge, last_of

# The file at hand is still good when only a descriptor for the next is missing.
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


class Survey(Struct, frozen=True):
    """
    What a look at the open file and at its path has shown.

    Args:
        ours: The open descriptor still leads to the file that was opened.
        linked: That file still has a name, so what is written to it is not lost.
        current: It is the file at the path.
    """

    ours: bool
    linked: bool
    current: bool


NOTHING_OPEN: Final = Survey(ours=False, linked=False, current=False)


def may_log_on(survey: Survey, error: OSError) -> bool:
    """Return whether the old file will do, now that reopening failed with *error*."""
    return survey.ours and survey.linked and error.errno in _OUT_OF_DESCRIPTORS


def _key(facts: FileFacts) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


class Target:
    """
    A path to append to, its descriptor, and what is known about its last line.

    Not thread-safe; `append` and `close` may block.

    Args:
        system: Where the file is.
        path: The file, made absolute.
        mode: Permission bits for a new file.
    """

    __slots__ = (
        "_doubtful", "_end", "_seen", "_torn", "fd", "mode", "opened", "path", "system"
    )  # fmt: skip

    def __init__(self, system: System, path: str | os.PathLike[str], mode: int) -> None:
        self.system = system
        self.path = os.path.abspath(path)
        self.mode = mode
        self.fd: int | None = None
        self.opened: tuple[int, int] | None = None
        self._torn = False
        self._doubtful = False
        self._seen = 0
        """The size of the file at the last look."""
        self._end = 0
        """Where our last write ended, if nobody else has written."""

    def fresh(self) -> Target:
        """Return a target on the same path with nothing open."""
        return Target(self.system, self.path, self.mode)

    def append(self, pieces: Sequence[bytes], wanted: bytes | bytearray = WANTED) -> Outcome:
        """
        Append *pieces* to the file at the path, and say which of them are in it.

        Args:
            pieces: What is to be written, one entry for each line.
            wanted: One byte, looked at once the file has been, which may take long: with 0
                nobody waits for this any more, and nothing is written.

        Returns:
            `Delivered`; `Partial` with the whole lines written, the others
            retryable; or `Retryable` with the `OSError` when there are none.
        """
        written, size = self._go_on(pieces, wanted) or (None, -1)
        if written == size:
            last = last_of(pieces)
            self._took(size, is_torn(last, len(last), self._torn))
            return DELIVERED
        data, before = b"".join(pieces), b""
        if not data:
            return DELIVERED
        if written is None:
            try:
                self._ready()
            except OSError as error:
                return Retryable(error)
            if not wanted[0]:
                return Retryable("given up before it was written")
            before, written = NEWLINE if self._torn else b"", 0
            data = before + data
        # Unless it gets to the end, nobody knows how the file ends, and the next one looks.
        self._doubtful = True
        assert self.fd is not None
        more, stopped = write_all(self.system, self.fd, data[written:] if written else data)
        written += more
        self._took(written, is_torn(data, written, self._torn))
        # A full disk tears the lines of every process that shares the file.
        self._doubtful = stopped is not None
        extra = len(before)
        return judge(pieces, len(data) - extra, max(0, written - extra), stopped)

    def _took(self, written: int, torn: bool) -> None:
        """Note that the file has taken *written* bytes, and whether its last line is *torn*."""
        self._torn = torn
        self._end = self._seen + written

    def position(self) -> Position | None:
        """
        Return the place behind the last write, or None while no file is open.

        Lines of other processes may stand before it; no line that is written later does.
        The system is not asked: it would be once per batch, and each time this thread
        would have to get the interpreter back from whoever is logging.
        """
        if self.fd is None or self.opened is None:
            return None
        return Position(*self.opened, self._end)

    def close(self) -> None:
        """Close the descriptor, unless its number is another file's by now."""
        facts = self._facts()
        fd, self.fd = self.fd, None
        if fd is not None and facts is not None:
            self.system.close(fd)

    def _go_on(self, pieces: Sequence[bytes], wanted: bytes | bytearray) -> tuple[int, int] | None:
        """Append to the file if it is as we left it; return how much, None for not tried."""
        if self.fd is None or self.opened is None or self._torn or self._doubtful:
            return None
        self._doubtful, self._seen = True, self._end
        taken = append_known(
            self.system, self.fd, self.path, self.opened, self._end, pieces, wanted
        )
        self._doubtful = taken is not None and taken[0] < taken[1]
        return taken

    def _ready(self) -> None:
        """
        Have a descriptor that leads to the file at the path, reopened if need be.

        Raises:
            OSError: If there is none to be had.
        """
        survey = self._survey()
        if self.fd is not None and survey.current:
            return
        if not survey.ours:
            # Somebody closed it, and the number may be another file's by now.
            self.fd = None
        try:
            fd, self.opened = self._open()
        except OSError as error:
            if self.fd is not None and may_log_on(survey, error):
                return
            raise
        old, self.fd = self.fd, fd
        if old is not None:
            self.system.close(old)

    def _survey(self) -> Survey:
        facts = self._facts()
        if facts is None:
            return NOTHING_OPEN
        # Somebody else who has written may have died over it, and so may the async
        # tier's abandoned call, whose twin looks here.
        if self._doubtful or facts.st_size != self._end:
            self._torn = self._ends_torn(facts)
            self._doubtful = False
        self._seen = facts.st_size
        return Survey(
            ours=True,
            linked=facts.st_nlink > 0,
            current=self._at_path() == self.opened,
        )

    def _facts(self) -> FileFacts | None:
        if self.fd is None:
            return None
        try:
            facts = self.system.fstat(self.fd)
        except OSError:
            return None
        return facts if _key(facts) == self.opened else None

    def _at_path(self) -> tuple[int, int] | None:
        try:
            return _key(self.system.stat(self.path))
        except OSError:
            # Whatever it is, opening the path comes next and reports it.
            return None

    def _open(self) -> tuple[int, tuple[int, int]]:
        fd = open_append(self.system, self.path, self.mode)
        try:
            facts = self.system.fstat(fd)
            self._torn = self._ends_torn(facts)
        except BaseException:
            # Also for an exception out of a signal handler: nobody else knows
            # this descriptor.
            self.system.close(fd)
            raise
        self._doubtful = False
        self._end = self._seen = facts.st_size
        return fd, _key(facts)

    def _ends_torn(self, facts: FileFacts) -> bool:
        try:
            return ends_torn(self.system, self.path, facts.st_size)
        except OSError:
            # An empty line too many is harmless, two lines in one are not.
            return facts.st_size > 0
