"""
A stream: the numbered lines of one set of destinations and one lane.

Rule 1: taking a number and appending the line is one step, here and where a plain
record is sent (see `_route`). A `for` loop fetches from `itertools.count` without giving
signals or other threads a chance to run, and none of the bytecodes from there to the
end of `append` does either. So the order of numbers is the order in the queue, and an
interrupted call leaves no gap. One thing in between does look for signals, the
formatting of a number: what a handler logs there overtakes, and when it raises, the
step is finished first.
Rule 2: where a record has more than one place to go, the calls to make are
prepared first and made in one loop over C functions. When a signal raises in
the middle, what was begun is finished before the exception goes on.
Rule 3: the count is the ledger's figure for "routed"; nobody else counts it.
Rule 4: on a thread that must not wait (an event loop, a writer, a handler that
interrupted a waiting call) a full queue parks or drops, it never blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count, repeat
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..core.levels import CRITICAL, level_name
from ..queue import Entry, Fate, Parked, State
from ._admission import QUEUE_FULL, Admitted, Place
from ._receipts import DROPPED, QUEUED, OwnReceipt, ParkedReceipt, Receipt

if TYPE_CHECKING:
    from collections import deque

    from ..queue import Fifo, Item
    from ._run import Run
    from ._writer import Writer

    # A function and its only argument; which goes with which, no type can say for a list.
    Step: TypeAlias = tuple[Callable[[Any], object], object]

# Makes a line as `%d` does, a little slower, and does not look for signals meanwhile.
UNDISTURBED: Final = b'%b%b%.0f"}\n'
# Bytes that the id adds to a body at most, when the size of a line is estimated.
_ID_BYTES: Final = 64
# Seconds that a CRITICAL may wait for fdatasync.
DISK_WAIT: Final = 0.25

NO_MEMORY: Final = "no_memory"


class Stream:
    """
    The way of one lane's records to one set of destinations.

    Args:
        run: The run that the numbers belong to.
        label: Number of the route and letter of the lane, for example `1r`.
        writers: The destinations' writers.
    """

    __slots__ = (
        "fat", "home", "key", "label", "numbers", "prefix", "queue", "queues", "run", "tag",
        "writers",
    )  # fmt: skip

    def __init__(self, run: Run, label: str, writers: tuple[Writer, ...]) -> None:
        self.run = run
        self.home = run.home
        self.label = label
        self.writers = writers
        self.queues = tuple(writer.queue for writer in writers)
        self.queue = self.queues[0] if len(writers) == 1 else None
        self.key = f"{run.id}.{label}-".encode()
        self.prefix = b',"id":"' + self.key
        self.numbers = count(1)
        self.fat = min((writer.queue.unit for writer in writers), default=0) - _ID_BYTES
        self.tag = ",".join(writer.name for writer in writers).encode()

    @property
    def issued(self) -> int:
        """How many numbers were given out; the repr of a count shows the next one."""
        return int(repr(self.numbers)[6:-1]) - 1

    def send(self, body: bytes, level: int, tracked: bool = False) -> Receipt:
        """
        Number *body*, make it a line and queue it for every destination.

        Args:
            body: The canonical line up to its id.
            level: The record's level.
            tracked: Whether the caller wants a receipt of its own.
        """
        if not self.home[0]:
            return self.run.resend(body, level, tracked)
        if not tracked and not any(len(queue.entries) >= queue.limit for queue in self.queues):
            return self._queue(body, level)
        # Decided before there is a number: from there on no loop with a condition may
        # stand in this function. CPython 3.12 and 3.13 leave the jumps of such a loop
        # out of the table of the `try`, and what a signal raises there escapes it.
        takers, spilling, parking, refused = self._sort(level, len(body) + _ID_BYTES)
        number, line = 0, b""
        steps: Iterator[Step] | None = None
        try:
            for number in self.numbers:
                line = b'%b%b%d"}\n' % (body, self.prefix, number)
                break
            # Where it is only refused there is none: it would keep the line for as long
            # as the receipt is kept.
            entry = self._entry(line, number, level) if tracked or parking else None
            parked = [] if entry is None else _park(entry, parking)
            steps = iter(
                _puts(takers, entry or line, len(line))
                + _spills(spilling, entry or line, len(line))
                + _parks(parked)
                + self._drops(refused, number, level_name(level), entry)
            )
            for operate, argument in steps:
                operate(argument)
        except MemoryError:
            self._finish(steps or self._lost(number, level))
            return DROPPED
        except BaseException:
            self._finish(steps or self._rescue(body, number, level))
            raise
        finally:
            self._ring()
        try:
            for writer in spilling:
                writer.spill()
            for writer in refused:
                writer.drops.fold()
            if entry is not None:
                if parked:
                    return ParkedReceipt(entry, self.writers, parked)
                return OwnReceipt(entry, self.writers)
        except MemoryError:
            # Its record is where it should be; a receipt of its own it cannot have.
            pass
        return DROPPED if len(refused) == len(self.writers) else QUEUED

    def give_up(self, level: int) -> Receipt:
        """Count a record that found no memory before it had a number; never raise MemoryError."""
        number = 0
        try:
            for number in self.numbers:
                break
            self._finish(self._lost(number, level))
        except MemoryError:
            # Not even the note of it: the number that is missing will be told as lost.
            pass
        return DROPPED

    def _queue(self, body: bytes, level: int) -> Receipt:
        """Queue *body* for destinations that all have room; nobody will ask about it."""
        size = len(body) + _ID_BYTES
        number, line = 0, b""
        steps: Iterator[Step] | None = None
        try:
            for number in self.numbers:
                line = b'%b%b%d"}\n' % (body, self.prefix, number)
                break
            steps = iter([_put(queue, queue.entries, line, size) for queue in self.queues])
            for operate, argument in steps:
                operate(argument)
        except MemoryError:
            self._finish(steps or self._lost(number, level))
            return DROPPED
        except BaseException:
            self._finish(steps or self._rescue(body, number, level))
            raise
        finally:
            self._ring()
        return QUEUED

    @staticmethod
    def full(writer: Writer, level: int = CRITICAL) -> bool:
        """Return whether *writer* takes no record of this lane and *level* now."""
        queue = writer.queue
        return len(queue.entries) >= queue.limit_for(level)

    @staticmethod
    def most(writer: Writer) -> int:
        """Return how many places records of this lane may fill at *writer*."""
        return writer.queue.capacity

    def _sort(
        self, level: int, size: int
    ) -> tuple[list[Writer], list[Writer], list[Writer], dict[Writer, str]]:
        """Return the writers that queue, spill, park and refuse a record, the last with reasons."""
        admission = self.run.admission
        found: dict[Writer, Admitted] = {
            writer: admission.place(self, writer, level, size)
            if self.full(writer, level)
            else Place.QUEUE
            for writer in self.writers
        }
        takers, spilling, parking = (
            [writer for writer in self.writers if found[writer] is place] for place in Place
        )
        refused = {writer: why for writer, why in found.items() if isinstance(why, str)}
        return takers, spilling, parking, refused

    def _entry(self, line: bytes, number: int, level: int) -> Entry:
        key = b"%b%d" % (self.key, number)
        size = len(self.writers)
        return Entry(line, key, self.label, number, level_name(level), size, self.tag)

    def _drops(
        self,
        refused: Mapping[Writer, str],
        number: int,
        level: str,
        entry: Entry | None = None,
    ) -> list[Step]:
        """Return the calls that count a drop at each writer; nobody waits for *entry* yet."""
        steps: list[Step] = []
        for writer, reason in refused.items():
            note = (self.label, number, level, reason)
            steps.append((writer.drops.defer, note))
            if entry is not None:
                fate = Fate(State.DROPPED, None, reason)
                steps.append((entry.fates.update, {writer.name: fate}))
        return steps

    def _lost(self, number: int, level: int) -> list[Step]:
        """Return the calls that count a record as dropped everywhere for want of memory."""
        if not number:
            return []
        return self._drops(dict.fromkeys(self.writers, NO_MEMORY), number, level_name(level))

    def _rescue(self, body: bytes, number: int, level: int) -> list[Step]:
        """Return the calls that queue *body*, where something was raised after it was numbered."""
        if not number:
            return []
        entry = self._entry(UNDISTURBED % (body, self.prefix, number), number, level)
        return self._places(entry)

    def _places(self, entry: Entry) -> list[Step]:
        """Return the calls that queue *entry*, in the overflow where there is no place."""
        if self.queue is not None and not self.full(self.writers[0]):
            return [_put(self.queue, self.queue.entries, entry, len(entry.line))]
        steps: list[Step] = []
        full = [writer for writer in self.writers if self.full(writer)]
        if len(full) == len(self.writers) and entry.segment is not None:
            # The journal has the line, nobody else needs it now, and there is no
            # bound on how many such entries there may be.
            steps.append((partial(setattr, entry, "line"), b""))
        for writer in self.writers:
            queue = writer.queue
            if writer not in full:
                steps += _puts((writer,), entry, len(entry.line))
            elif entry.segment is not None:
                steps.append((queue.overflow.append, entry))
            else:
                steps += self._drops({writer: QUEUE_FULL}, entry.number, entry.level, entry)
        return steps

    @staticmethod
    def _finish(steps: Iterable[Step]) -> None:
        for operate, argument in steps:
            operate(argument)

    def _ring(self) -> None:
        try:
            for queue in self.queues:
                if queue.idle:
                    queue.ring()
        except MemoryError:
            # The record is queued; whoever logs or flushes next rings for it.
            pass


class GuaranteedStream(Stream):
    """The way of ERROR and CRITICAL: through the journal, with a limit of its own."""

    __slots__ = ()

    def send(self, body: bytes, level: int, tracked: bool = False) -> Receipt:
        """
        As `Stream.send`; returns when the record is in the kernel (K).

        CRITICAL off an event loop also waits for fdatasync, at most 250 ms.
        Where there is no journal, or it fails, a caller off the loop waits (for
        the block timeout at most) until a tier has the record; on the loop the
        record stays in the queue and the receipt says so.
        """
        run = self.run
        if not self.home[0]:
            return run.resend(body, level, tracked)
        if run.keeper.journal is None and any(map(self.full, self.writers)):
            return super().send(body, level, tracked=True)
        began = monotonic()
        number, line = 0, b""
        entry: Entry | None = None
        steps: Iterator[Step] | None = None
        try:
            for number in self.numbers:
                line = b'%b%b%d"}\n' % (body, self.prefix, number)
                break
            entry = self._entry(line, number, level)
            run.journal_entry(entry)
            steps = iter(self._places(entry))
            for operate, argument in steps:
                operate(argument)
        except MemoryError:
            if entry is None:
                self._finish(self._lost(number, level))
                return DROPPED
            self._finish(steps or self._places(entry))
        except BaseException:
            if entry is None:
                self._finish(self._rescue(body, number, level))
            else:
                self._finish(steps or self._places(entry))
            raise
        finally:
            self._ring()
        try:
            return run.secure(entry, self.writers, began, critical=level >= CRITICAL)
        except MemoryError:
            # As in `Stream.send`.
            return QUEUED

    @staticmethod
    def full(writer: Writer, _level: int = CRITICAL) -> bool:
        """Return whether the reserve is used up, too."""
        return len(writer.queue.entries) >= writer.queue.ceiling

    @staticmethod
    def most(writer: Writer) -> int:
        """Return how many places there are with the reserve."""
        return writer.queue.ceiling


def _puts(writers: Iterable[Writer], item: bytes | Entry, size: int) -> list[Step]:
    return [_put(writer.queue, writer.queue.entries, item, size) for writer in writers]


def _spills(writers: Iterable[Writer], item: bytes | Entry, size: int) -> list[Step]:
    return [_put(writer.queue, writer.queue.spill, item, size) for writer in writers]


def _put(queue: Fifo, where: deque[Item], item: bytes | Entry, size: int) -> Step:
    extra = queue.padding(size)
    # One call: nothing can come between a line and its padding.
    return (where.extend, (item, *repeat(None, extra))) if extra else (where.append, item)


def _park(entry: Entry, writers: list[Writer]) -> list[tuple[Writer, Parked]]:
    return [(writer, Parked(entry)) for writer in writers]


def _parks(parked: list[tuple[Writer, Parked]]) -> list[Step]:
    steps: list[Step] = []
    for writer, place in parked:
        queue = writer.queue
        # First the door, then the line: a door closed for nothing is opened by `relax`.
        steps.append((partial(setattr, queue, "limit"), 0))
        steps.append((queue.parked.append, place))
    return steps
