"""
Receipts: what a logging call returns.

Rule 1: a receipt can be awaited and is no coroutine, so a call that nobody
awaits is complete and warns of nothing.
Rule 2: below ERROR the answer is one of four shared constants; a receipt of its
own is made only for what somebody may want to ask about.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..queue import Entry, Fate, State
from ._waiting import Ready, gave_way, wait, wait_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..queue import Parked
    from ._writer import Writer

CANCELLED: Final = "cancelled"
"""Reason of a drop: the task that awaited a parked line was cancelled."""
DISCARDED: Final = "discarded"
"""Reason of a drop: nobody kept the receipt of a parked line."""


class Durability(Enum):
    """How safe a record is at the moment of asking."""

    QUEUED = "Q"
    """In the memory of the process."""

    KERNEL = "K"
    """Survives the death of the process by any cause."""

    DISK = "D"
    """fdatasync has returned: survives the loss of power, if the device is honest."""

    SINK = "S"
    """A tier of the destination acknowledged it."""


class Settlement(Struct, frozen=True):
    """
    What became of a record: one `Fate` per destination, in the order of the route.

    For a shared receipt *fates* is empty, and *settled* tells whether the
    barrier was reached in time.
    """

    id: str | None
    fates: dict[str, Fate]
    settled: bool

    @property
    def delivered(self) -> bool:
        """Whether every destination has it, or holds it in a file for replay."""
        return self.settled and all(
            fate.state in {State.DELIVERED, State.HELD} for fate in self.fates.values()
        )

    @property
    def dropped(self) -> dict[str, str]:
        """The destinations that do not get it, each with the reason."""
        return {
            name: fate.reason or "unknown"
            for name, fate in self.fates.items()
            if fate.state is State.DROPPED
        }


class _Nowhere(Settlement, frozen=True):
    """The settlement of a record that no destination was given."""

    @property
    def delivered(self) -> bool:
        # Without any fate, "all of them have it" would be true.
        return False


class Receipt:
    """
    The answer of a logging call. Await it in a task, ignore it, or ask it.

    Awaiting gives None and never blocks the loop. It waits only when the record
    is parked in front of a full queue, or when it is CRITICAL (for fdatasync, at
    most 250 ms); otherwise it lets other tasks run once per millisecond of logging.
    """

    __slots__ = ()

    id: str | None = None
    """The record's id; None for the shared constants."""

    @property
    def durability(self) -> Durability | None:
        """How safe the record is now; None when there is no record."""
        return None

    def __await__(self) -> Generator[object, None, None]:
        return gave_way()  # type: ignore[return-value]

    async def coro(self) -> None:
        """Await this receipt; a real coroutine, for `asyncio.create_task` and the like."""
        await self

    def wait(self, timeout: float | None = None) -> Settlement:
        """
        Block until every destination has settled the record, up to *timeout* seconds.

        Does not raise when the time is up: the fates say `PENDING` then. On a
        thread that runs an event loop use `delivered` instead.
        """
        return _Nowhere(None, {}, settled=True)

    async def delivered(self, timeout: float | None = None) -> Settlement:
        """As `wait`, for a task."""
        return self.wait(0)


class _Constant(Receipt):
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<Receipt {self._name}>"

    def __reduce__(self) -> str:
        return self._name.upper()


def _nothing_queued(timeout: float | None) -> bool:
    return True


async def _nothing_queued_async(timeout: float | None) -> bool:
    return True


class Queued(Ready, _Constant):
    """Most calls' answer. `wait` and `delivered` are a barrier over everything queued so far."""

    __slots__ = ("_aflush", "_flush")

    def __init__(self) -> None:
        super().__init__("queued")
        self.connect(_nothing_queued, _nothing_queued_async)

    def connect(
        self,
        flush: Callable[[float | None], bool],
        aflush: Callable[[float | None], Awaitable[bool]],
    ) -> None:
        """Say what a barrier is; the engine does, which stands above this module."""
        self._flush = flush
        self._aflush = aflush

    @property
    def durability(self) -> Durability | None:
        return Durability.QUEUED

    def wait(self, timeout: float | None = None) -> Settlement:
        return Settlement(None, {}, settled=self._flush(timeout))

    async def delivered(self, timeout: float | None = None) -> Settlement:
        return Settlement(None, {}, settled=await self._aflush(timeout))


QUEUED: Final = Queued()
"""The record is in the queue of every destination."""
FILTERED: Final[Receipt] = _Constant("filtered")
"""No destination wants this level of this logger; nothing happened."""
SAMPLED: Final[Receipt] = _Constant("sampled")
"""A processor dropped the record on purpose; counted as suppressed."""
DROPPED: Final[Receipt] = _Constant("dropped")
"""Every queue was full; the drop is counted and declared in the log."""


class OwnReceipt(Receipt):
    """
    The receipt of one record: ERROR and above, tracked calls, parked calls.

    Args:
        entry: The record.
        writers: Its destinations' writers, in the order of the route.
        durable_by: Monotonic seconds until which awaiting waits for the disk;
            None when it does not.
    """

    __slots__ = ("_durable_by", "_entry", "_writers")

    def __init__(
        self, entry: Entry, writers: Sequence[Writer], durable_by: float | None = None
    ) -> None:
        self._entry = entry
        self._writers = writers
        self._durable_by = durable_by

    @property
    def id(self) -> str:  # type: ignore[override]
        """The record's id."""
        return self._entry.key.decode()

    @property
    def durability(self) -> Durability:
        """How safe the record is now; the best that is certain."""
        entry = self._entry
        states = {fate.state for fate in list(entry.fates.values())}
        if entry.settled and State.DROPPED in states:
            # Not the journal either has it any more for who did not get it.
            return Durability.QUEUED
        if entry.durable:
            return Durability.DISK
        if entry.settled and states == {State.DELIVERED}:
            return Durability.SINK
        if entry.segment is not None or entry.settled:
            return Durability.KERNEL
        return Durability.QUEUED

    def __await__(self) -> Generator[object, None, None]:
        if self._durable_by is None or self._entry.durable:
            return gave_way()  # type: ignore[return-value]
        return self._until_durable(self._durable_by).__await__()

    def wait(self, timeout: float | None = None) -> Settlement:
        deadline = None if timeout is None else monotonic() + timeout
        self._hurry()
        while not self._entry.settled:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                break
            wait(self._entry.notify, left)
        return self._settlement()

    async def delivered(self, timeout: float | None = None) -> Settlement:
        deadline = None if timeout is None else monotonic() + timeout
        self._hurry()
        while not self._entry.settled:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                break
            await wait_async(self._entry.notify, left)
        return self._settlement()

    def __repr__(self) -> str:
        return f"<Receipt {self.id} {self.durability.value}>"

    async def _until_durable(self, deadline: float) -> None:
        while not self._entry.durable and (left := deadline - monotonic()) > 0:
            await wait_async(self._entry.notify_durable, left)

    def _hurry(self) -> None:
        for writer in self._writers:
            writer.hurry()

    def _settlement(self) -> Settlement:
        entry = self._entry
        fates = {
            writer.name: entry.fates.get(writer.name, Fate(State.PENDING))
            for writer in self._writers
        }
        return Settlement(self.id, fates, settled=entry.settled)


class ParkedReceipt(OwnReceipt):
    """
    The receipt of a line that found a queue full on a thread that must not wait.

    Awaiting it waits for room. Letting it go while the line is still parked, or
    being cancelled in the wait, drops the line, and the drop is counted.
    """

    __slots__ = ("_parked",)

    def __init__(
        self, entry: Entry, writers: Sequence[Writer], parked: Sequence[tuple[Writer, Parked]]
    ) -> None:
        super().__init__(entry, writers)
        self._parked = parked

    def __await__(self) -> Generator[object, None, None]:
        return self._until_admitted().__await__()

    async def _until_admitted(self) -> None:
        try:
            while any(parked.waiting for _, parked in self._parked):
                await wait_async(self._entry.notify, None)
        except BaseException:
            self._let_go(CANCELLED)
            raise

    def _let_go(self, reason: str) -> None:
        entry = self._entry
        note = (entry.stream, entry.number, entry.level, reason)
        for writer, parked in self._parked:
            taken, defer = False, writer.drops.defer
            try:
                # A loop over C functions: no signal comes between the claim and the count.
                for taken in parked.claims():
                    defer(note)
            except IndexError:
                """Claimed already, by the writer or by an earlier call."""
            finally:
                if taken:
                    writer.drops.fold()
                    # Or calls that nobody awaits would fill the park behind one that
                    # somebody does await.
                    writer.queue.forget(parked)
                    entry.settle(writer.name, Fate(State.DROPPED, None, reason))

    def __del__(self) -> None:
        # Not there when a signal handler has raised while this was being made. The
        # line has nobody to let go of it then, and is taken in when there is room.
        if hasattr(self, "_parked"):
            self._let_go(DISCARDED)
