"""
The books of one destination: what was routed to it, and where that is now.

Rule 1: `delivered`, `replayed` and `adopted` are moved by the ticket holder only,
when a job is finished; drops come from any thread and have a tally of their own.
Rule 2: what is pending is counted where it is, never by subtraction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from fallbacks.ledger import Balance, Drops
from fallbacks.outcomes import Outcome, taken_of
from fallbacks.tier import Kind

from ..queue import Entry, Fate, Fifo, State
from ._doubt import Doubt
from ._jobs import Job, numbered, weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fallbacks.batch import Batch
    from fallbacks.chain import Chain
    from fallbacks.clock import Clock
    from fallbacks.held import HeldStore
    from fallbacks.position import Position

    from ._herald import Herald
    from ._spiller import Spiller
    from ._stream import Stream


EVICTED: Final = "evicted"
"""Reason of a drop: the queue was full, and this was the oldest record below ERROR in it."""


# How often a reading is begun again that a job has overtaken.
_READINGS: Final = 3


class Ledgerkeeper(Protocol):
    """What a writer tells the journal; without one, `settle` still wakes receipts."""

    @property
    def closed(self) -> bool:
        """Whether it takes in and gives back nothing any more."""

    def acknowledge(
        self, destination: str, position: Position | None, entries: Sequence[Entry]
    ) -> None:
        """Note that *entries* are safe at *destination*."""

    def settled(self, entry: Entry) -> None:
        """Take note that every destination has settled *entry*."""

    def fetch(self, entries: Sequence[Entry]) -> None:
        """Put the lines back into *entries* whose lines only the journal has."""


class Books:
    """
    The account of one destination.

    Args:
        name: The destination's name.
        chain: Its tiers.
        queue: Its FIFO.
        store: Where its lines are held for replay; None when it has no such place.
        clock: Time.
        journal: Where guaranteed records are acknowledged.
    """

    def __init__(
        self,
        name: str,
        chain: Chain,
        queue: Fifo,
        *,
        store: HeldStore | None,
        clock: Clock,
        journal: Ledgerkeeper,
    ) -> None:
        self.name = name
        self.chain = chain
        self.queue = queue
        self.store = store
        self.drops = Drops(clock)
        self.doubt = Doubt()
        self.herald: Herald | None = None
        """Tells the application's hooks; None without any."""
        self.spiller: Spiller | None = None
        """Writes to the held store what finds no place in the queue; with `spill` only."""
        self.streams: list[Stream] = []
        self.job: Job | None = None
        """What is on its way."""
        self.delivered = 0
        self.replayed = 0
        self.adopted = 0
        """Deliveries that were not routed by this run: others left them."""
        self.stranded: list[Entry] = []
        """Refused for good and not kept aside: only the journal has them."""
        self.parted = 0
        """Records counted as dropped that the store has until the rest of their chunk leaves it."""
        self.moving = 0
        """Replayed deliveries that leave the store and are not counted as delivered yet."""
        self.clock = clock
        self.journal = journal

    def note_drop(self, stream: str, number: int, level: str, reason: str) -> None:
        """Count a record that was not taken in."""
        self.drops.note(stream, number, level, reason)

    def evict(self) -> bool:
        """
        Drop the oldest record below ERROR that is queued; return whether there was one.

        Any thread may call it, also while the writer takes from the same queue.
        """
        queue, defer = self.queue, self.drops.defer
        while (item := queue.oldest()) is not None:
            if isinstance(item, Entry):
                entry, line = item, item.line
                note = (item.stream, item.number, item.level, EVICTED)
            else:
                entry, line = None, item
                note = (*numbered(item), EVICTED)
            gone: object = False
            try:
                # A loop over a C function: no signal comes between the removal, which
                # answers with None, and the count.
                for gone in queue.removal(item):
                    defer(note)
            except ValueError:
                # Or the writer was faster, and the next one is the oldest.
                if gone is None:
                    raise
            finally:
                if gone is None:
                    self.drops.fold()
                    queue.unpad(len(line))
                    if entry is not None:
                        entry.settle(self.name, Fate(State.DROPPED, None, EVICTED))
            if gone is None:
                return True
        return False

    def spill(self) -> None:
        """See to it that what has just been put into the spill is written to the store."""
        if self.spiller is not None:
            self.spiller.start()

    def drop(self, entry: Entry, reason: str) -> None:
        """Count *entry* as dropped here, and tell its receipt."""
        self.drops.note(entry.stream, entry.number, entry.level, reason)
        self.tell(entry, Fate(State.DROPPED, None, reason))

    @property
    def pending(self) -> int:
        """Deliveries that are neither delivered nor dropped, counted where they are."""
        held = self.store.held if self.store is not None else 0
        queue = self.queue
        return (
            queue.depth
            + queue.waiting
            + len(queue.overflow)
            + queue.spilling
            + (0 if self.spiller is None else self.spiller.pending)
            + len(self.stranded)
            + held
            - self.parted
            + self.moving
            + self._in_flight()
        )

    def _in_flight(self) -> int:
        """Return how many records are on their way, and not counted elsewhere already."""
        job = self.job
        if job is None or not job.pending:
            return 0
        tiers = self.chain.tiers
        return job.pending - sum(
            len(settled.indices)
            for settled in list(job.delivery.settled)
            if job.counted or tiers[settled.tier].kind is Kind.HOLDING
        )

    def balance(self) -> Balance:
        """Return a reading of the ledger; terminal counters are read first."""
        job, delivered, dropped, pending = self._reading()
        for _ in range(_READINGS):
            if job is self.job and delivered == self.delivered:
                break
            # A job has come to its end meanwhile: what it delivered is in both, or in neither.
            job, delivered, dropped, pending = self._reading()
        routed = sum(stream.issued for stream in self.streams) + self.adopted
        if self.store is not None:
            # They are in the books of the run that has taken them over.
            routed -= self.store.given
        for tier, batch, outcome in self.chain.unabsorbed:
            routed += weight(self.kept_late(tier, batch, outcome))
        return Balance(
            routed, delivered, dropped, pending, self.replayed, dict(self.drops.counts())
        )

    def _reading(self) -> tuple[Job | None, int, int, int]:
        return self.job, self.delivered, self.drops.total, self.pending

    def kept_late(self, tier: int, batch: Batch, outcome: Outcome) -> list[bytes]:
        """Return the lines that a holding tier took after its call was given up."""
        # By the plan: a store that keeps what one copy missed holds no deliveries.
        if self.chain.plan.tiers[tier].kind is not Kind.HOLDING:
            return []
        return [batch[index] for index in taken_of(outcome, len(batch))]

    def tell(self, entry: Entry, fate: Fate) -> None:
        """Note what became of *entry* here."""
        if entry.settle(self.name, fate):
            self.journal.settled(entry)
