"""
What a FIFO holds besides plain lines: entries that somebody may ask about, and barriers.

Rule 1: a record nobody can ask about is a bare bytes object; only a record with
a receipt of its own, or one that is in the journal, pays for an `Entry`.
Rule 2: state changes by single operations that are atomic in C (a dict set, a
list pop), so that writers of several destinations need no lock between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class State(Enum):
    """Where one delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    HELD = "held"
    """In a file of ours, waiting to be replayed to the destination."""
    JOURNAL = "journal"
    """In the journal only; replayed when there is room, or at the next start."""
    DROPPED = "dropped"


class Fate(Struct, frozen=True):
    """What became of a record at one destination: the tier that has it, or why it was dropped."""

    state: State
    tier: str | None = None
    reason: str | None = None


class Entry:
    """
    A record on its way to every destination of its route.

    Args:
        line: The canonical line; emptied while only the journal has it.
        key: The record's id.
        stream: Label of the stream, for the ledger.
        number: The record's number in that stream.
        level: Name of the level.
        destinations: How many destinations will settle it.
        tag: The destinations' names as the journal wants them, joined by commas.
    """

    __slots__ = (
        "_tag", "destinations", "durable", "fates", "key", "level", "line", "number",
        "segment", "stream", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        line: bytes,
        key: bytes,
        stream: str,
        number: int,
        level: str,
        destinations: int,
        tag: bytes = b"",
    ) -> None:
        self.line = line
        self.key = key
        self.stream = stream
        self.number = number
        self.level = level
        self.destinations = destinations
        self._tag = tag
        self.segment: object | None = None
        self.durable = False
        self.fates: dict[str, Fate] = {}
        self.waiting: deque[Callable[[], object]] = deque()

    @property
    def guaranteed(self) -> bool:
        """Whether the record is of the lane of ERROR and above."""
        return self.stream.endswith("g")

    @property
    def tag(self) -> bytes:
        """The names of the destinations that want it from the journal, if it comes to that."""
        fates = self.fates.copy()
        if not fates:
            return self._tag
        safe = {name.encode() for name, fate in fates.items() if fate.state is not State.JOURNAL}
        return b",".join(name for name in self._tag.split(b",") if name not in safe)

    @property
    def settled(self) -> bool:
        """Whether every destination has said what became of the record."""
        return len(self.fates) >= self.destinations

    def settle(self, destination: str, fate: Fate) -> bool:
        """Note the *fate* at *destination*; return whether that was the last one missing."""
        self.fates[destination] = fate
        if not self.settled:
            return False
        self.wake()
        return True

    def notify(self, wake: Callable[[], object]) -> None:
        """Have *wake* called, on any thread, at the next change; at once when all is settled."""
        self.waiting.append(wake)
        if self.settled:
            self.wake()

    def notify_durable(self, wake: Callable[[], object]) -> None:
        """
        Have *wake* called at the next change; at once when the record is on the disk.

        Not at once when it is settled: who waits for a slow disk would not rest.
        """
        self.waiting.append(wake)
        if self.durable:
            self.wake()

    def wake(self) -> None:
        """Call everyone who waits for a change."""
        waiting = self.waiting
        while True:
            try:
                wake = waiting.popleft()
            except IndexError:
                return
            wake()


class Parked:
    """
    A line that waits outside of a full FIFO, on behalf of a task that may await it.

    Whoever claims it decides: the writer admits it, or its receipt lets go of it.
    """

    __slots__ = ("_token", "entry")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._token = [True]

    def claim(self) -> bool:
        """Return True for exactly one caller."""
        try:
            return self._token.pop()
        except IndexError:
            return False

    def claims(self) -> Iterator[bool]:
        """
        Return an iterator that claims it when it is asked: True, or IndexError.

        For a `for` loop, where no signal can come between the claim and what the
        loop does with it first.
        """
        return map(list.pop, (self._token,))

    @property
    def waiting(self) -> bool:
        """Whether nobody has claimed it yet."""
        return bool(self._token)


class Barrier:
    """A mark in the FIFO: it fires when everything in front of it is settled."""

    __slots__ = ("_fire",)

    def __init__(self, fire: Callable[[], object]) -> None:
        self._fire = fire

    def fire(self) -> None:
        """Tell whoever waits."""
        self._fire()


def records(entries: Sequence[object]) -> int:
    """Return how many of *entries* are records, not padding or barriers."""
    return sum(1 for entry in entries if entry is not None and type(entry) is not Barrier)
