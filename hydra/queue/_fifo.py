"""
The FIFO of one destination: two admission limits on one queue.

Rule 1: producers touch it by operations that are atomic in C and never wait here.
Rule 2: one place in the queue stands for `unit` bytes. A longer line takes more
places (padding, None), so that the length of the deque answers for the bound in
records and for the bound in bytes at once, and no counter of bytes can drift.
Rule 3: `limit` is the one number the call path compares with. It is `easy`, up to
which no level is refused, or 0 while new ordinary lines must not pass: others are
parked in front of them, or a blocked caller has waited a full timeout and the queue
is still full. Policies cost a look at the level only beyond it.
Rule 4: what leaves the middle of the queue, and what moves from one deque to the
other, does so in one call in C: the writer may be taking at the same time.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ..core.levels import INFO, WARNING
from ._entries import Barrier, Entry, Parked, records

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Iterator

Item: TypeAlias = "bytes | Entry | Barrier | None"
WhenFull: TypeAlias = Literal["block", "drop_new", "drop_old", "shed", "spill"]

# How full the queue may be, in percent, for records below a level; for `shed`.
SHARES: Final = ((INFO, 60), (WARNING, 80))
# One place in so many of the queue's is what may be on its way to the held store,
# and the least there is: fewer would be one write for every few lines.
_SPILL_SHARE: Final = 10
_SPILL_LEAST: Final = 100

# Lines that may be parked per destination; a task that never awaits its calls
# must not turn the park into a second, unbounded queue.
PARKED_LINES: Final = 1_000
PARKED_BYTES: Final = 1 << 20


def _nobody() -> None:
    """The bell of a FIFO that no writer serves yet."""


class Popped:
    """
    So many items from the front of a deque, for `list.extend`.

    The list learns their number and makes room for all of them first: where there is no
    memory for it, none has been taken out yet.
    """

    __slots__ = ("_items", "_most")

    def __init__(self, items: deque[Item], most: int) -> None:
        self._items = items
        self._most = most

    def __iter__(self) -> Iterator[Item]:
        return map(deque.popleft, repeat(self._items, self._most))

    def __length_hint__(self) -> int:
        return self._most


class Fifo:
    """
    A bounded queue of lines for one writer.

    Args:
        capacity: Places for records below ERROR.
        reserve: Places beyond that for ERROR and above.
        size: Bytes that *capacity* places hold; a place is its share of them.
        when_full: What becomes of records below ERROR that find no place.
        patience: Seconds that a caller waits for one, where it may wait.
    """

    __slots__ = (
        "_blocked", "_front", "_park_bytes", "_passed", "_shares", "_waiters", "capacity",
        "ceiling", "easy", "entries", "high_water", "idle", "limit", "low_water", "overflow",
        "parked", "patience", "refusing", "ring", "spill", "spill_places", "taken", "unit",
        "when_full",
    )  # fmt: skip

    def __init__(
        self,
        capacity: int,
        reserve: int,
        size: int,
        when_full: WhenFull = "block",
        patience: float = 0.0,
    ) -> None:
        self.entries: deque[Item] = deque()
        self.capacity = capacity
        self.when_full = when_full
        self.patience = patience
        self._shares: list[tuple[int, int]] = []
        if when_full == "shed":
            self._shares = [(level, max(1, capacity * share // 100)) for level, share in SHARES]
        self.easy = self.limit = self._shares[0][1] if self._shares else capacity
        self.ceiling = capacity + reserve
        self.unit = max(1, size // capacity)
        self.low_water = capacity // 2
        self.high_water = 0
        """The largest number of places that the writer has found taken."""
        self.parked: deque[Parked] = deque()
        self.overflow: deque[Entry] = deque()
        """Journaled entries for which there was no place; their lines are in the journal."""
        self.taken: list[Item] = []
        """What the holder has taken out and not yet made a job of."""
        self.spill: deque[Item] = deque()
        """What found no place and is on its way to the held store, or back in here."""
        self.spill_places = 0
        if when_full == "spill":
            self.spill_places = max(_SPILL_LEAST, capacity // _SPILL_SHARE)
        self._front = object()
        """Another one whenever lines left or entered at the front."""
        self._passed = (self._front, 0)
        """A front, and how many places behind it hold nothing that may be evicted."""
        self._park_bytes = 0
        self.refusing = False
        self._blocked: dict[int, float] = {}
        self.idle = True
        """Whether the writer sleeps, so that a producer has to ring."""
        self.ring: Callable[[], object] = _nobody
        self._waiters: deque[LockType] = deque()

    # -- producers

    def put(self, item: bytes | Entry, size: int) -> None:
        """Append *item* of *size* bytes; the caller has asked for room."""
        extra = self.padding(size)
        if extra:
            # One call: nothing can come between a line and its padding.
            self.entries.extend((item, *repeat(None, extra)))
        else:
            self.entries.append(item)

    def limit_for(self, level: int) -> int:
        """Return how many places may be taken before *level* is refused."""
        if self.limit and self._shares:
            return next((most for below, most in self._shares if level < below), self.capacity)
        return self.limit

    def sheds(self, level: int) -> bool:
        """Return whether *level* is one that is refused before the queue is full."""
        return any(level < below for below, _ in self._shares)

    def oldest(self) -> bytes | Entry | None:
        """
        Return the oldest line below ERROR; None when there is none.

        It stays in the queue, where the writer may take it at any time.
        """
        entries, front = self.entries, self._front
        known, at = self._passed
        if known is not front:
            at = 0
        # By index: an iterator would notice that others change the deque, and raise.
        while at < len(entries):
            try:
                item = entries[at]
            except IndexError:
                break
            if type(item) is bytes or (type(item) is Entry and not item.guaranteed):
                self._passed = (front, at)
                return item
            at += 1
        self._passed = (front, at)
        return None

    def removal(self, item: bytes | Entry) -> Iterator[None]:
        """
        Return an iterator that takes *item* out when it is asked: None, or ValueError.

        For a `for` loop, as `Parked.claims`. A line is found by its bytes, which
        no other has, and by nothing that runs Python code.
        """
        return map(self.entries.remove, (item,))

    def unpad(self, size: int) -> None:
        """Free the places beyond the first of a line of *size* bytes that was taken out."""
        extra = self.padding(size)
        try:
            for _ in range(extra):
                self.entries.remove(None)
        except ValueError:
            """The writer has come across them."""
        if extra:
            self._front = object()

    def can_park(self, size: int) -> bool:
        """Return whether the park takes another line of *size* bytes."""
        if len(self.parked) >= PARKED_LINES:
            self.sweep()
            if len(self.parked) >= PARKED_LINES:
                return False
        if self._park_bytes + size > PARKED_BYTES:
            # An upper bound: what was let go of meanwhile is in it still. Counting a
            # thousand lines anew with each call would hold up an event loop.
            self.sweep()
            self._park_bytes = sum(len(other.entry.line) for other in list(self.parked))
            if self._park_bytes + size > PARKED_BYTES:
                return False
        self._park_bytes += size
        return True

    def padding(self, size: int) -> int:
        """Return how many places more than one a line of *size* bytes takes."""
        return (size - 1) // self.unit

    def sweep(self) -> None:
        """Forget parked lines at the front that their receipts have let go of."""
        parked = self.parked
        while parked and not parked[0].waiting:
            try:
                parked.popleft()
            except IndexError:
                return

    def forget(self, parked: Parked) -> None:
        """Take *parked*, of which its receipt has let go, out of the park."""
        try:
            self.parked.remove(parked)
        except ValueError:
            """The writer, or a sweep, has come across it."""

    def wait(self, seconds: float) -> bool:
        """
        Block this thread up to *seconds* for a sign of room; return whether one came.

        A sign is no promise: look again. Never called on a thread that runs an
        event loop or drains a destination.
        """
        waiter = allocate_lock()
        waiter.acquire()
        self._waiters.append(waiter)
        if len(self.entries) < self.limit:
            return True
        return waiter.acquire(True, seconds)

    def blocked(self, thread: int, seconds: float) -> None:
        """Note that *thread* was kept waiting. Each thread has a sum of its own: no lost update."""
        self._blocked[thread] = self._blocked.get(thread, 0.0) + seconds

    # -- the writer

    def take(self, most: int) -> list[Item]:
        """Remove and return up to *most* items from the front."""
        entries = self.entries
        self.high_water = max(self.high_water, len(entries))
        items: list[Item] = []
        self.taken = items
        # One call in C. Were the deque to run empty inside, what had been taken
        # would stay in the list.
        items.extend(Popped(entries, min(most, len(entries))))
        self._front = object()
        return items

    def restore(self) -> None:
        """Put back what was taken last and has not become a job: something was raised between."""
        items, self.taken = self.taken, []
        self.entries.extendleft(reversed(items))
        self._front = object()

    def put_back(self, items: list[bytes | Entry | Barrier]) -> None:
        """Return *items* to the front, in their order; nobody else will take them meanwhile."""
        self.entries.extendleft(reversed(items))
        self._front = object()

    def admit(self) -> None:
        """After room was made: let waiting lines in, in order, and tell blocked callers."""
        entries, parked = self.entries, self.parked
        if self.spill:
            self._take_back()
        while parked and len(entries) < self.capacity:
            first = parked.popleft()
            if first.claim():
                self.put(first.entry, len(first.entry.line))
                first.entry.wake()
        self.relax()
        if parked:
            # Parked between the look and the write of `relax`: close the door again.
            self.limit = 0
        if len(entries) < self.capacity:
            self.tell()

    def tell(self) -> None:
        """Have blocked callers look again."""
        while self._waiters:
            self._waiters.popleft().release()

    def _take_back(self) -> None:
        """Let lines in that have not got to the held store yet, padding and barriers included."""
        room = self.capacity - len(self.entries)
        try:
            self.entries.extend(
                map(deque.popleft, repeat(self.spill, max(0, min(room, len(self.spill)))))
            )
        except IndexError:
            """The rest is being written."""

    def relax(self) -> None:
        """Stop refusing when there is room again; a sleeping writer would not notice."""
        if self.refusing and len(self.entries) <= self.low_water:
            self.refusing = False
        if not self.refusing and not self.parked:
            self.limit = self.easy

    def refuse(self) -> None:
        """A full timeout has passed: refuse ordinary lines until low water."""
        self.refusing = True
        self.limit = 0

    # -- readers

    @property
    def spilling(self) -> int:
        """Records that wait to be written to the held store, counted."""
        return records(list(self.spill))

    @property
    def depth(self) -> int:
        """Records in the queue, counted."""
        return records(list(self.entries))

    @property
    def size(self) -> int:
        """Bytes of the lines in the queue, counted."""
        return sum(
            len(item if isinstance(item, bytes) else item.line)
            for item in list(self.entries)
            if isinstance(item, bytes | Entry)
        )

    @property
    def blocked_seconds(self) -> float:
        """Seconds that callers have been kept waiting, all together."""
        return sum(list(self._blocked.values()))

    @property
    def waiting(self) -> int:
        """Lines parked and not yet let go of, counted."""
        return sum(1 for parked in list(self.parked) if parked.waiting)
