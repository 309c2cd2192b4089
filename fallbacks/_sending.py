"""
What both senders decide: which lines go where next, and what became of them.

Rule 1: nothing here waits and nothing calls a tier; only the held store is read and
told, which the callers do where blocking harms nobody.
Rule 2: held lines go back to the primaries only, in order, a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .batch import Batch
from .tier import Kind

if TYPE_CHECKING:
    from .chain import Chain
    from .delivery import Delivery
    from .held import Chunk, HeldStore

REPLAY_LINES: Final = 1_000
REPLAY_BYTES: Final = 1 << 20


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


class Desk:
    """
    The memory of a sender between its calls.

    Args:
        chain: The chain.
        store: Its holding tier, if it has one that can be read.
        tiers: The tiers that this sender can call.

    Raises:
        ValueError: If there is none, or *store* is no tier of the chain.
    """

    def __init__(self, chain: Chain, store: HeldStore | None, tiers: Sequence[int]) -> None:
        if not tiers:
            raise ValueError("the chain has only async tiers; use AsyncSender")
        if store is not None and all(tier is not store for tier in chain.tiers):
            raise ValueError(
                f"{store.name} is no tier of the chain, so nothing would be held in it"
            )
        self.chain = chain
        self.store = store
        self.tiers = tuple(tiers)
        self._settled: set[bytes] = set()
        """Lines of the chunk under way that need not be offered again."""
        self._doubtful = False
        """Whether the destination may have held lines already, without having said so."""

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
        self._doubtful = self._doubtful or any(settled.suspect for settled in kept)
        held = sum(len(settled.indices) for settled in kept)
        delivered = sum(len(settled.indices) for settled in delivery.settled) - held
        left = tuple(batch[index] for index in delivery.left)
        return Sent(delivered, held, _rejected(batch, delivery), left)

    # Lines of the store.

    @property
    def held(self) -> int:
        """Weight of the lines that wait for replay."""
        return self.store.held if self.store is not None else 0

    def next_chunk(self) -> Chunk | None:
        """Return the lines to be replayed next; None where there are none, or none to take them."""
        # A tier that was left behind may be free by now.
        self.chain.absorb()
        if self.store is None or not self.store.waiting or not self.chain.healthy():
            return None
        return self.store.lines(REPLAY_LINES, REPLAY_BYTES)

    def begin_replay(self, chunk: Chunk) -> tuple[Batch, Delivery]:
        """Begin the delivery of what is left of *chunk* to the primaries; it never waits."""
        lines = [line for line in chunk.lines if line not in self._settled]
        batch = Batch(lines, duplicate=chunk.suspect or self._doubtful)
        primaries = [tier for tier in self.chain.primaries if tier in self.tiers]
        return batch, self.chain.plan.begin(len(batch), tiers=primaries, patient=False)

    def finish_replay(self, chunk: Chunk, batch: Batch, delivery: Delivery) -> Sent | None:
        """Take in what became of *batch*; return None when it makes no sense to go on now."""
        assert self.store is not None
        taken = [batch[index] for settled in delivery.settled for index in settled.indices]
        part = Sent(len(taken), 0, _rejected(batch, delivery))
        if delivery.left:
            self._settled.update(taken, part.rejected)
            return part if part != Sent() else None
        self.store.acknowledge(chunk)
        self._settled.clear()
        self._doubtful = self._doubtful and self.store.waiting
        return part


def _rejected(batch: Batch, delivery: Delivery) -> tuple[bytes, ...]:
    return tuple(batch[each.index] for each in delivery.rejected)


def total(parts: Sequence[Sent], held: int) -> Sent:
    """Return what became of all *parts* of a replay after which *held* lines wait."""
    rejected = tuple(line for part in parts for line in part.rejected)
    return Sent(sum(part.delivered for part in parts), held, rejected)
