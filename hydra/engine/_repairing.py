"""
Repair: what one copy of a destination missed while others took it, and its way there.

Rule 1: such a record is delivered. What happens here is no part of the ledger: it
is counted by copy, as waiting for repair or as missed for good.
Rule 2: as replay, in order, in chunks, never waiting, and no more lines in a second
than the destination is said to bear; one copy at a time, since the misses of each
are in a store of its own.
Rule 3: for a record that too few copies have, it is remembered which have it, so
that they do not get it again. That memory is bounded and ends with the process;
beyond it they get the record again, with the same id.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.held import HeldStore
from fallbacks.strategy import Rule
from fallbacks.tier import Kind

from ..core.ids import identify
from ._jobs import Job, JobKind, weight
from ._lookup import Lookup, file_among
from ._pace import REPLAY_BYTES, REPLAY_PAUSE, Pace, rest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fallbacks.chain import Chain
    from fallbacks.clock import Clock
    from fallbacks.delivery import Delivery

    from ._doubt import Doubt

# How many records are remembered that some copies have, but too few: 10 MB or so.
_REMEMBERED: Final = 65_536

# To one copy alone, whatever the strategy is.
_TO_ONE: Final = Rule()


class Repair:
    """
    One copy, and the store of what it missed.

    Args:
        store: Keeps the lines; None when there is no place for them.
        tiers: Indices of the tiers of the copy.
        rate: How many lines it gets back in a second at most.
    """

    __slots__ = (
        "_done",
        "_lookup",
        "doubtful",
        "missed",
        "pace",
        "store",
        "tiers",
    )

    def __init__(
        self, store: HeldStore | None, tiers: tuple[int, ...], rate: float = math.inf
    ) -> None:
        self.store = store
        self.tiers = tiers
        self.pace = Pace(rate)
        self.doubtful = False
        """Whether the copy may have lines of the store already."""
        self.missed = 0
        """Records that the copy will never get."""
        self._done: set[bytes] = set()
        self._lookup: Lookup | None = None

    @property
    def waiting(self) -> int:
        """Records that wait for the copy."""
        return 0 if self.store is None else self.store.held

    def job(self, chain: Chain, tiers: Collection[int] | None, now: float) -> Job | None:
        """Return a job with the oldest lines; None when it has to be later, or there are none."""
        store = self.store
        if store is None or not store.waiting or now < self.pace.ready_at:
            return None
        allowed = [index for index in self.tiers if tiers is None or index in tiers]
        if not any(chain.plan.available(index, now) for index in allowed):
            self.pace.at = now + REPLAY_PAUSE
            return None
        known = self._done
        suspect = False
        try:
            chunk = store.lines(self.pace.most, REPLAY_BYTES)
            suspect = chunk is not None and (chunk.suspect or self.doubtful)
            file = file_among(chain, self.tiers) if suspect else None
            if chunk is not None and file is not None:
                self._lookup = self._lookup or Lookup(file)
                known = known | self._lookup.there(chunk, chunk.scan)
        except OSError:
            chunk = None
        if chunk is None:
            self.pace.at = now + REPLAY_PAUSE
            return None
        lines: Sequence[bytes] = chunk.lines
        if known:
            lines = [line for line in lines if identify(line) not in known]
        batch = Batch(lines, duplicate=suspect)
        delivery = chain.plan.begin(len(batch), tiers=allowed, patient=False, rule=_TO_ONE)
        return Job(JobKind.REPAIR, batch, delivery, chunk=chunk, repair=self)

    def finish(self, job: Job, now: float) -> bool:
        """Take in what became of *job*; return whether all of it has left the store."""
        assert self.store is not None
        assert job.chunk is not None
        delivery, batch = job.delivery, job.batch
        self.pace.sent(len(batch), now)
        refused = [batch[rejected.index] for rejected in delivery.rejected]
        delivery.rejected = []
        # A part of a chunk may have been refused in an attempt before this one.
        self.missed += weight(refused)
        if delivery.left:
            taken = [batch[index] for each in delivery.settled for index in each.indices]
            self._done.update(
                key for line in (*taken, *refused) if (key := identify(line)) is not None
            )
            self.pace.at = now + REPLAY_PAUSE
            return False
        self.store.acknowledge(job.chunk)
        self._done.clear()
        if not self.store.waiting:
            self.doubtful, self._lookup = False, None
        return True


class Repairs:
    """
    What the copies of one destination missed, and the jobs that bring it to them.

    Args:
        chain: The destination's tiers.
        clock: Time.
        rate: How many lines a copy gets back in a second at most.
        doubt: What came back in doubt.
    """

    def __init__(self, chain: Chain, clock: Clock, rate: float, doubt: Doubt) -> None:
        self.copies = [
            Repair(_store(chain, copy), tiers, rate) for copy, tiers in enumerate(chain.copies)
        ]
        """One for each copy, the destination itself first."""
        self._chain = chain
        self._clock = clock
        self._doubt = doubt
        self._turns = deque(self.copies)
        self._partly: dict[bytes, int] = {}

    @property
    def waiting(self) -> int:
        """Records that are delivered and wait for one copy or several, once for each."""
        return sum(repair.waiting for repair in self.copies)

    @property
    def missed(self) -> int:
        """Records that are delivered and that a copy will never get, once for each."""
        return sum(repair.missed for repair in self.copies)

    @property
    def stores(self) -> list[HeldStore]:
        """Where the lines are that copies miss."""
        return [repair.store for repair in self.copies if repair.store is not None]

    def _open(self) -> list[Repair]:
        return [r for r in self.copies if r.store is not None and r.store.waiting]

    @property
    def ready(self) -> bool:
        """Whether a repair may go on now."""
        now = self._clock.monotonic()
        return any(now >= repair.pace.ready_at for repair in self._open())

    def wait(self, now: float) -> float | None:
        """Return the seconds until a repair may go on; None when there is nothing to repair."""
        plan = self._chain.plan
        waits = [
            max(repair.pace.ready_at - now, rest(plan, repair.tiers, now))
            for repair in self._open()
        ]
        return min(waits, default=None)

    def hasten(self) -> None:
        """Somebody waits: end all pauses."""
        for repair in self.copies:
            repair.pace.at = 0.0

    def job(self, tiers: Collection[int] | None) -> Job | None:
        """Return a job for the copy whose turn it is; None when there is nothing to do now."""
        now = self._clock.monotonic()
        for _ in range(len(self._turns)):
            repair = self._turns[0]
            # The next one comes first next time.
            self._turns.rotate(-1)
            job = repair.job(self._chain, tiers, now)
            if job is not None:
                return job
        return None

    # -- what a delivery leaves behind

    @property
    def partly(self) -> bool:
        """Whether there are lines that some copies have, but too few."""
        return bool(self._partly)

    def note_missed(self, job: Job) -> dict[int, Sequence[int]]:
        """Count what copies will never get, and note which doubt what they get later."""
        delivery, missed = job.delivery, job.delivery.missed
        for copy, lines in missed.items():
            self.copies[copy].missed += weight([job.batch[index] for index in lines])
        if delivery.suspect or self._doubt:
            for repair in self.copies:
                repair.doubtful = repair.doubtful or bool(repair.waiting)
        return missed

    def had(self, batch: Batch) -> dict[int, int]:
        """Return which copies have lines of *batch* already, and forget it."""
        if not self._partly:
            return {}
        return {
            index: self._partly.pop(key)
            for index, line in enumerate(batch)
            if (key := identify(line)) in self._partly and key is not None
        }

    def remember(self, batch: Batch, delivery: Delivery) -> None:
        """Remember which copies have the lines that are not safe with them."""
        had = delivery.had
        if not had:
            return
        tiers = self._chain.plan.tiers
        open_ = set(delivery.left).union(
            *(each.indices for each in delivery.settled if tiers[each.tier].kind is Kind.HOLDING)
        )
        for index in open_:
            key = identify(batch[index])
            if had.get(index) and key is not None and len(self._partly) < _REMEMBERED:
                self._partly[key] = had[index]


def _store(chain: Chain, copy: int) -> HeldStore | None:
    index = chain.repairs.get(copy)
    tier = None if index is None else chain.tiers[index]
    return tier if isinstance(tier, HeldStore) else None
