"""
Admission: where a record goes when a destination's queue is full.

Rule 1: a policy is a row of `WAYS`, and a way is tried only where the thread may
go it; when the last one led nowhere, the record is refused.
Rule 2: nothing here runs while there is room.
Rule 3: on an event loop, on a thread that drains, and in a handler that interrupted
a waiting call nothing waits.
"""

from __future__ import annotations

from _thread import get_ident
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from ._waiting import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..queue import WhenFull
    from ._stream import Stream
    from ._writer import Writer

QUEUE_FULL: Final = "queue_full"
"""Reason of a drop: the queue was full, and there was no other way."""
PARK_FULL: Final = "park_full"
"""Reason of a drop: as `QUEUE_FULL` on an event loop, with the park full as well."""
SHED: Final = "shed"
"""Reason of a drop: the queue was nearly full, and the level one that makes room."""


class Where(Enum):
    """What kind of thread a call is made on."""

    LOOP = "loop"
    """It runs an event loop of the application's."""
    FREE = "free"
    """It may wait for a moment."""
    BOUND = "bound"
    """It must not: it drains a destination, or interrupted a call that waits."""


class Way(Enum):
    """What may be tried for a record that finds no place."""

    WAIT = "wait"
    """Wait for room, up to the block timeout; afterwards nobody waits until low water."""
    EVICT = "evict"
    """Drop the oldest ordinary record."""
    SPILL = "spill"
    """Have it written to the held store."""
    PARK = "park"
    """Leave it to its receipt: awaiting waits for room, letting go drops the record."""


WAYS: Final[dict[tuple[WhenFull, Where], tuple[Way, ...]]] = {
    ("block", Where.LOOP): (Way.PARK,),
    ("block", Where.FREE): (Way.WAIT,),
    ("block", Where.BOUND): (),
    ("drop_new", Where.LOOP): (Way.PARK,),
    ("drop_new", Where.FREE): (),
    ("drop_new", Where.BOUND): (),
    ("drop_old", Where.LOOP): (Way.PARK,),
    ("drop_old", Where.FREE): (Way.EVICT,),
    ("drop_old", Where.BOUND): (Way.EVICT,),
    ("shed", Where.LOOP): (Way.PARK,),
    ("shed", Where.FREE): (),
    ("shed", Where.BOUND): (),
    ("spill", Where.LOOP): (Way.SPILL, Way.PARK),
    ("spill", Where.FREE): (Way.SPILL, Way.WAIT),
    ("spill", Where.BOUND): (Way.SPILL,),
}


class Place(Enum):
    """Where a record was found a place."""

    QUEUE = "queue"
    SPILL = "spill"
    PARK = "park"


Admitted: TypeAlias = "Place | str"
"""A place, or the reason why there is none."""


class Admission:
    """
    Decides for one run.

    Args:
        draining: Idents of threads that drain some destination right now.
    """

    def __init__(self, draining: set[int]) -> None:
        self._draining = draining
        self._waiting: set[int] = set()
        self.peers: Callable[[], Iterable[Admission]] = lambda: (self,)
        """Gives those of all runs, this one included: a sink may log to another scope."""

    def where(self) -> Where:
        """Return what kind of thread this is."""
        ident = get_ident()
        peers = self.peers()
        if any(ident in each._draining for each in peers):
            return Where.BOUND
        if running_loop() is not None:
            return Where.LOOP
        return Where.BOUND if any(ident in each._waiting for each in peers) else Where.FREE

    @property
    def may_wait(self) -> bool:
        """Whether this thread may block for a moment: no loop, no writer, no re-entry."""
        return self.where() is Where.FREE

    def begin_wait(self) -> None:
        """
        Mark this thread as one that waits: what interrupts it must not wait as well.

        Called within the `try` that ends with `end_wait`, since a handler may raise
        as soon as it is done; a context manager would have no such place.
        """
        self._waiting.add(get_ident())

    def end_wait(self) -> None:
        """Take the mark away."""
        self._waiting.discard(get_ident())

    def place(self, stream: Stream, writer: Writer, level: int, size: int) -> Admitted:
        """
        Return where a record of *level* goes at *writer*, which was found full.

        Args:
            stream: The record's lane; says what full means for it.
            writer: The destination's writer.
            level: The record's level.
            size: Bytes of its line, or a few more.
        """
        queue, where = writer.queue, self.where()
        if where is not Where.LOOP:
            queue.relax()
            if not stream.full(writer, level):
                return Place.QUEUE
        if queue.sheds(level):
            return SHED
        for way in WAYS[queue.when_full, where]:
            match way:
                case Way.SPILL:
                    found = Place.SPILL if self._spills(writer) else None
                case Way.EVICT:
                    found = self._evict(stream, writer)
                case Way.WAIT:
                    found = self._wait(stream, writer)
                case _:
                    found = Place.PARK if queue.can_park(size) else None
            if found is not None:
                return found
        return PARK_FULL if where is Where.LOOP else QUEUE_FULL

    @staticmethod
    def _spills(writer: Writer) -> bool:
        queue = writer.queue
        return len(queue.spill) < queue.spill_places

    @staticmethod
    def _evict(stream: Stream, writer: Writer) -> Place | None:
        entries, most = writer.queue.entries, stream.most(writer)
        # Others may fill up meanwhile what is freed here, but not for ever. Parked lines
        # close the door to others, and are no reason to empty the queue for one of them.
        for _ in range(most + 1):
            if len(entries) < most:
                return Place.QUEUE
            if not writer.evict():
                break
        return None

    def _wait(self, stream: Stream, writer: Writer) -> Place | None:
        queue = writer.queue
        if queue.refusing:
            return None
        began = monotonic()
        deadline = began + queue.patience
        try:
            self.begin_wait()
            while (left := deadline - monotonic()) > 0:
                writer.hurry()
                queue.wait(left)
                if not stream.full(writer):
                    return Place.QUEUE
                if self._spills(writer):
                    return Place.SPILL
                if queue.refusing:
                    return None
            queue.refuse()
            return None
        finally:
            self.end_wait()
            queue.blocked(get_ident(), monotonic() - began)
