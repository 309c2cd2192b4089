"""
A live segment: one file of the journal that this process appends to.

Rule 1: `append` runs in signal handlers and from any thread. It does one system
call or one `Mapping.write`, and otherwise only what is atomic under the GIL.
Rule 2: whoever appends first puts its key into `live` (or `busy`), then looks at
`released`. Whoever releases first sets `released`, then looks at `live` and
`busy`. So a file is never taken away under a writer, and nobody waits.
Rule 3: a frame that may be torn is not taken: the append raises.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct, field

from .._ownership import make_owned
from ..files import write_all

if TYPE_CHECKING:
    from ..system import Mapping, System

_TOKENS: Final = count()


class SegmentFull(Exception):
    """The frame does not fit, or the segment has been released; take the next one."""


class Entry(Protocol):
    """What the journal needs to write a record again."""

    @property
    def tag(self) -> bytes:
        """The destinations that still want it, joined by commas; empty when none does."""

    @property
    def line(self) -> bytes | None:
        """The line; None when it is only in the journal any more."""


class Segment(Struct, eq=False):
    """
    One segment file with its unsettled entries.

    `live` maps the id of each unsettled record to its entry. `moved` lists the
    segments that took over entries, for whoever still holds this one.
    """

    system: System
    path: str
    number: int
    fd: int
    mapping: Mapping | None
    capacity: int
    live: dict[bytes, Entry] = field(default_factory=dict)
    busy: dict[int, None] = field(default_factory=dict)
    moved: list[Segment] = field(default_factory=list)
    synced: int = -1
    poisoned: bool = False
    released: bool = False
    closed: bool = False

    def append(self, key: bytes, frame: bytes, entry: Entry) -> None:
        """
        Append a record's frame; it is in the kernel on return.

        Raises:
            SegmentFull: If it does not fit here.
            OSError: If it was not, or not wholly, taken.
        """
        self.live[key] = entry
        try:
            self._put(frame)
        except BaseException:
            # Also for what a signal handler raised in between: an entry without
            # a frame would keep the file for ever.
            self.live.pop(key, None)
            raise

    def append_note(self, frame: bytes) -> None:
        """Append a frame that belongs to no entry; raises as `append` does."""
        token = next(_TOKENS)
        self.busy[token] = None
        try:
            self._put(frame)
        finally:
            self.busy.pop(token, None)

    def _put(self, frame: bytes) -> None:
        if self.released or self.poisoned:
            raise SegmentFull
        if self.mapping is not None:
            try:
                self.mapping.write(frame)
            except ValueError:
                raise SegmentFull from None
            return
        if self.system.fstat(self.fd).st_size + len(frame) > self.capacity:
            raise SegmentFull
        _, error = write_all(self.system, self.fd, frame)
        if error is not None:
            raise error

    def settle(self, key: bytes) -> None:
        """Forget an entry, here and where it was moved to. Idempotent."""
        self.live.pop(key, None)
        for other in self.moved:
            other.settle(key)

    def position(self) -> int:
        """Return how many bytes have been written."""
        if self.mapping is not None:
            return self.mapping.tell()
        return self.system.fstat(self.fd).st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets."""
        if self.mapping is not None:
            return self.mapping.read(start, stop)
        return self.system.pread(self.fd, max(0, stop - start), start)

    def claim(self) -> bool:
        """Return whether nobody needs it and nobody can get to need it from now on."""
        self.released = True
        if self.live or self.busy:
            self.released = False
        return self.released

    def sync(self) -> None:
        """
        Put what has been written on the disk.

        Raises:
            OSError: If that failed; the segment is poisoned then, because a
                second fdatasync would succeed without having saved anything.
        """
        try:
            position = self.position()
            if position == self.synced:
                return
            self.system.fdatasync(self.fd)
        except OSError:
            self.poisoned = True
            raise
        self.synced = position

    def close(self) -> None:
        """Unmap, close and unlock; the file stays. Idempotent. No append must be under way."""
        if self.closed:
            return
        self.closed = True
        self.released = True
        if self.mapping is not None:
            self.mapping.close()
        self.system.close(self.fd)


def create_segment(system: System, path: str, number: int, header: bytes, capacity: int) -> Segment:
    """
    Make a segment file: locked and with its header before it has its name.

    It is mapped where space can be reserved, so that a full disk is noticed here
    and not as a signal in the middle of an append; elsewhere it is written to.

    Raises:
        FileExistsError: If *path* is taken, or somebody was at the file meanwhile.
        OSError: If it cannot be made; nothing is left behind then, if possible.
    """
    mapping: Mapping | None = None

    def fill(fd: int) -> None:
        nonlocal mapping
        mapping = _map(system, fd, capacity)
        if mapping is not None:
            mapping.write(header)
            return
        _, error = write_all(system, fd, header)
        if error is not None:
            raise error

    try:
        fd = make_owned(system, path, fill)
    except BaseException:
        # While it is mapped, a removed file keeps its space.
        if mapping is not None:
            mapping.close()
        raise
    return Segment(system, path, number, fd, mapping, capacity)


def _map(system: System, fd: int, size: int) -> Mapping | None:
    try:
        system.allocate(fd, size)
        return system.map(fd, size)
    except OSError:
        # Appending starts at the end, which has to be the end of the frames.
        system.truncate(fd, 0)
        return None
