"""
What both senders decide: which lines go where next, and what became of them.

Rule 1: nothing here waits and nothing calls a tier; only the stores are read and told,
which the callers do where blocking harms nobody.
Rule 2: held lines go back in order, a chunk at a time, to the copies that the strategy
names (the first, or all); what a copy missed goes to this copy alone.
Rule 3: a line that too few copies have is offered to the others only. Which have it is
remembered in memory, within bounds; beyond them they get it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .batch import Batch
from .held import Chunk, HeldStore
from .strategy import Rule
from .tier import Kind

if TYPE_CHECKING:
    from .chain import Chain
    from .delivery import Delivery

REPLAY_LINES: Final = 1_000
REPLAY_BYTES: Final = 1 << 20

# How many lines are remembered that some copies have, but too few.
_REMEMBERED: Final = 65_536

# To one copy alone, whatever the strategy is.
_TO_ONE: Final = Rule()


class Sent(Struct, frozen=True):
    """What became of lines: every one is delivered, held, rejected or left."""

    delivered: int = 0
    """Lines that a final tier has."""
    held: int = 0
    """Lines that are kept for replay."""
    rejected: tuple[bytes, ...] = ()
    """Lines that the destination will never take; nobody has them."""
    left: tuple[bytes, ...] = ()
    """Lines that no tier took in time. They are still the caller's."""


class Debt:
    """
    A store that has lines for somebody, and what is known about them.

    Args:
        store: Keeps the lines.
        copy: The copy that missed them; None: nobody has them, they are held.
    """

    __slots__ = ("copy", "doubtful", "settled", "store")

    def __init__(self, store: HeldStore, copy: int | None) -> None:
        self.store = store
        self.copy = copy
        self.settled: set[bytes] = set()
        """Lines of the chunk under way that need not be offered again."""
        self.doubtful = False
        """Whether who gets them may have some already, without having said so."""


class Errand(Struct, frozen=True):
    """Lines of a store on their way."""

    debt: Debt
    chunk: Chunk
    batch: Batch
    delivery: Delivery


class Desk:
    """
    The memory of a sender between its calls.

    Args:
        chain: The chain.
        store: Its holding tier, if it has one that can be read.
        tiers: The tiers that this sender can call.

    Raises:
        ValueError: If there is none, *store* is no tier of the chain, or it is one that
            keeps what a copy missed.
    """

    def __init__(self, chain: Chain, store: HeldStore | None, tiers: Sequence[int]) -> None:
        if not tiers:
            raise ValueError("the chain has only async tiers; use AsyncSender")
        kept = {copy: chain.tiers[index] for copy, index in chain.repairs.items()}
        if store is not None and all(tier is not store for tier in chain.tiers):
            raise ValueError(
                f"{store.name} is no tier of the chain, so nothing would be held in it"
            )
        if store is not None and any(tier is store for tier in kept.values()):
            raise ValueError(
                f"{store.name} keeps what one copy missed; it is replayed without being named"
            )
        self.chain = chain
        self.tiers = tuple(tiers)
        self._held = None if store is None else Debt(store, None)
        self._repairs = [
            Debt(tier, copy) for copy, tier in kept.items() if isinstance(tier, HeldStore)
        ]
        self.missed = 0
        """Lines that were delivered and that a copy will never get, once for each."""
        self._partly: dict[bytes, int] = {}
        """By line, the copies that have it, as bits; of lines that too few have."""

    # Lines of the caller.

    def begin(self, lines: Sequence[bytes]) -> tuple[Batch, Delivery]:
        """Begin the delivery of *lines*."""
        batch = Batch(list(lines))
        return batch, self.chain.plan.begin(len(batch), tiers=self.tiers)

    def hurry(self, delivery: Delivery) -> None:
        """There is no more time: ask each tier once more, and give up."""
        delivery.restrict(self.tiers, patient=False)

    def sent(self, batch: Batch, delivery: Delivery) -> Sent:
        """Return what became of *batch*, whose *delivery* is at its end."""
        kinds = [tier.kind for tier in self.chain.tiers]
        kept = [settled for settled in delivery.settled if kinds[settled.tier] is Kind.HOLDING]
        if self._held is not None and any(settled.suspect for settled in kept):
            self._held.doubtful = True
        held = [index for settled in kept for index in settled.indices]
        # What is left is the caller's again, and forgotten here.
        self._note_copies(batch, delivery, held)
        delivered = sum(len(settled.indices) for settled in delivery.settled) - len(held)
        left = tuple(batch[index] for index in delivery.left)
        return Sent(delivered, len(held), _rejected(batch, delivery), left)

    # Lines of the stores.

    @property
    def held(self) -> int:
        """Weight of the lines that wait for replay."""
        return 0 if self._held is None else self._held.store.held

    @property
    def repairing(self) -> int:
        """Weight of the delivered lines that wait for a copy, once for each."""
        return sum(debt.store.held for debt in self._repairs)

    @property
    def debts(self) -> list[Debt]:
        """What is to be replayed: the held lines first, then those of each copy."""
        return [*((self._held,) if self._held is not None else ()), *self._repairs]

    def next_errand(self, debt: Debt) -> Errand | None:
        """Begin with the next lines of *debt*; None where there are none, or none to take them."""
        chain = self.chain
        # A tier that was left behind may be free by now.
        now = chain.absorb()
        homes = chain.homes if debt.copy is None else chain.copies[debt.copy]
        wanted = [tier for tier in homes if tier in self.tiers]
        if not debt.store.waiting or not any(chain.plan.available(tier, now) for tier in wanted):
            return None
        chunk = debt.store.lines(REPLAY_LINES, REPLAY_BYTES)
        if chunk is None:
            return None
        lines = [line for line in chunk.lines if line not in debt.settled]
        batch = Batch(lines, duplicate=chunk.suspect or debt.doubtful)
        if debt.copy is not None:
            return Errand(debt, chunk, batch, self._begin_replay(batch, wanted, rule=_TO_ONE))
        if chain.plan.rule.spreads:
            # What a copy misses this time is kept for it as any other time.
            wanted += [tier for tier in chain.repairs.values() if tier in self.tiers]
        had = {
            index: self._partly.pop(line)
            for index, line in enumerate(batch)
            if line in self._partly
        }
        return Errand(debt, chunk, batch, self._begin_replay(batch, wanted, had=had))

    def _begin_replay(
        self,
        batch: Batch,
        tiers: Sequence[int],
        *,
        rule: Rule | None = None,
        had: dict[int, int] | None = None,
    ) -> Delivery:
        """Begin a delivery that never waits."""
        return self.chain.plan.begin(len(batch), tiers=tiers, patient=False, rule=rule, had=had)

    def finish(self, errand: Errand) -> Sent | None:
        """Take in what became of *errand*; return None when it makes no sense to go on now."""
        debt, batch, delivery = errand.debt, errand.batch, errand.delivery
        taken = [batch[index] for settled in delivery.settled for index in settled.indices]
        rejected = _rejected(batch, delivery)
        if debt.copy is None:
            self._note_copies(batch, delivery, delivery.left)
            part = Sent(len(taken), 0, rejected)
        else:
            # They were delivered before, and are in no count but their own.
            self.missed += len(rejected)
            part = Sent()
        if delivery.left:
            debt.settled.update(taken, rejected)
            return part if taken or rejected else None
        debt.store.acknowledge(errand.chunk)
        debt.settled.clear()
        debt.doubtful = debt.doubtful and debt.store.waiting
        return part

    def _note_copies(self, batch: Batch, delivery: Delivery, held: Sequence[int]) -> None:
        """Note which copies lack lines for good, and which have lines that are *held*."""
        self.missed += sum(map(len, delivery.missed.values()))
        for debt in self._repairs if delivery.suspect else ():
            debt.doubtful = debt.store.waiting
        had = delivery.had
        for index in held if had else ():
            if had.get(index) and len(self._partly) < _REMEMBERED:
                self._partly[batch[index]] = had[index]


def _rejected(batch: Batch, delivery: Delivery) -> tuple[bytes, ...]:
    return tuple(batch[each.index] for each in delivery.rejected)


def total(parts: Sequence[Sent], held: int) -> Sent:
    """Return what became of all *parts* of a replay after which *held* lines wait."""
    rejected = tuple(line for part in parts for line in part.rejected)
    return Sent(sum(part.delivered for part in parts), held, rejected)
