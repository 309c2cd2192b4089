"""
Replay: held lines on their way back to the destination itself.

Rule 1: in order, in chunks, to the copies that the strategy names only (the first,
or all), and never waiting: what does not get through now is held as before.
Rule 2: no more lines in a second than the destination is said to bear.
Rule 3: a line that the destination may have already is looked up in its file,
where it has one; elsewhere it is sent again, with the same id.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.outcomes import Outcome

from ..core.ids import identify, weigh
from ._jobs import REPLAY_BYTES, REPLAY_PAUSE, Job, JobKind, most_lines, weight
from ._lookup import already_there, file_among
from ._repairing import Repairing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fallbacks.chain import Chain
    from fallbacks.clock import Clock
    from fallbacks.delivery import Delivery
    from fallbacks.held import Chunk, HeldStore
    from fallbacks.strategy import Rule

    from ..queue import Fifo
    from ._books import Ledgerkeeper

# Seconds before replay is tried again after one that met a record which can be neither
# delivered nor kept aside.
STUCK_PAUSE: Final = 10.0
# Lines in the first chunk, and the part of an attempt's time that a chunk may take: who
# has been down for a day is not run down, and live records do not wait longer than that.
FIRST_LINES: Final = 250
REPLAY_SHARE: Final = 0.1
# How many lines, and bytes, are looked up in a destination's file at a time.
SCAN_LINES: Final = 100_000
SCAN_BYTES: Final = 8 << 20


class Replaying(Repairing):
    """A destination's books, and the jobs that empty its held store. The ticket holder's."""

    def __init__(
        self,
        name: str,
        chain: Chain,
        queue: Fifo,
        *,
        store: HeldStore | None,
        clock: Clock,
        journal: Ledgerkeeper,
        replay_rate: float | None = None,
    ) -> None:
        self._replay_rate = math.inf if replay_rate is None else replay_rate
        super().__init__(
            name,
            chain,
            queue,
            store=store,
            clock=clock,
            journal=journal,
            repair_rate=self._replay_rate,
        )
        self._most_lines = most_lines(self._replay_rate)
        self._chunk_lines = self._limit = min(FIRST_LINES, self._most_lines)
        self._replay_began = 0.0
        self._paced_until = 0.0
        self._replayed: set[bytes] = set()
        """Ids of the chunk under way that need not be offered again."""
        self._replay_at = 0.0
        self._doubtful = False
        self._copies: dict[bytes, int] = {}
        chain.on_late = self._note_late

    def _note_late(self, tier: int, batch: Batch, outcome: Outcome) -> None:
        # They went on to another tier, or back into the queue. What is held is a
        # copy, and is one delivery more until it is replayed, or meets its original.
        for line in self._kept_late(tier, batch, outcome):
            key = identify(line)
            if key is not None:
                self._doubtful = True
                self._copies[key] = weigh(line)
                self.adopted += weigh(line)

    def _begin(
        self,
        size: int,
        tiers: Collection[int] | None,
        patient: bool,
        *,
        had: Mapping[int, int] | None = None,
        rule: Rule | None = None,
        sheds: bool = False,
    ) -> Delivery:
        return self.chain.plan.begin(
            size,
            tiers=None if tiers is None else tuple(tiers),
            patient=patient,
            had=had,
            rule=rule,
            sheds=sheds,
        )

    def _can_replay(self) -> bool:
        return (
            self.store is not None
            # Not `held`: a control record that was held alone counts nothing there.
            and self.store.waiting
            and self._clock.monotonic() >= self._replay_from
            and self.chain.healthy()
        )

    @property
    def _replay_from(self) -> float:
        """When the next chunk may be sent; somebody who waits may hasten it, but not its pace."""
        return max(self._replay_at, self._paced_until)

    def _replay_job(self, tiers: Collection[int] | None, patient: bool) -> Job | None:
        if self.store is None or not self._can_replay():
            return None
        chain = self.chain
        file = file_among(chain, chain.homes)
        try:
            if not (self._replayed or self._parted):
                # A chunk that was settled in part must not get shorter.
                self._limit = self._chunk_lines
            chunk = self.store.lines(self._limit, REPLAY_BYTES)
            suspect = chunk is not None and (chunk.suspect or self._doubtful)
            if suspect and file is not None and self._replay_rate == math.inf:
                # What is there already is found by reading the file, so read it for as
                # many lines at a time as possible.
                chunk = self.store.lines(SCAN_LINES, SCAN_BYTES)
        except OSError:
            chunk, suspect = None, False
        if chunk is None:
            # Held lines that cannot be read now: look again later, not at once for ever.
            self._replay_at = self._clock.monotonic() + REPLAY_PAUSE
            return None
        lines: Sequence[bytes] = chunk.lines
        known = self._replayed
        spreads = chain.plan.rule.spreads
        there = self._already_there(chunk) if suspect and file is not None else []
        if not spreads:
            known = known.union(*there)
        if known:
            lines = [line for line in lines if identify(line) not in known]
        batch = Batch(lines, duplicate=suspect)
        had = self._had(batch)
        for index, line in enumerate(batch) if spreads and any(there) else ():
            key = identify(line)
            had[index] = had.get(index, 0) | sum(
                1 << c for c, ids in enumerate(there) if key in ids
            )
        homes = (*chain.homes, *(chain.repairs.values() if spreads else ()))
        allowed = [index for index in homes if tiers is None or index in tiers]
        delivery = self._begin(len(batch), allowed, patient=False, had=had)
        self._replay_began = self._clock.monotonic()
        return Job(JobKind.REPLAY, batch, delivery, chunk=chunk)

    def _already_there(self, chunk: Chunk) -> list[set[bytes]]:
        """Return, for each copy that held lines go back to, the ids of *chunk* in its file."""
        chain = self.chain
        copies = chain.copies if chain.plan.rule.shares else chain.copies[:1]
        found: list[set[bytes]] = []
        for copy, tiers in enumerate(copies):
            file = file_among(chain, tiers)
            # What the chunk knows about positions is about the destination's own file.
            scan = None if copy else chunk.scan
            found.append(set() if file is None else already_there(chunk, file, scan))
        return found

    def _finish_replay(self, job: Job) -> bool:
        assert self.store is not None
        assert job.chunk is not None
        delivery, batch = job.delivery, job.batch
        rejected = len(delivery.rejected)
        refused = self._part_with_rejected(job, {})
        self._parted += weight(refused)
        stuck = len(refused) < rejected
        self._note_missed(job)
        self._remember(batch, delivery)
        self._pace(len(batch), done=not delivery.left)
        if not delivery.left and not stuck:
            self._acknowledge(job.chunk, weight(job.chunk.lines) - self._parted)
            self._doubtful = self._doubtful and self.store.held > 0
            return True
        taken = [batch[index] for settled in delivery.settled for index in settled.indices]
        self._replayed.update(
            key for line in (*taken, *refused) if (key := identify(line)) is not None
        )
        self._replay_at = self._clock.monotonic() + (STUCK_PAUSE if stuck else REPLAY_PAUSE)
        return False

    def _pace(self, size: int, *, done: bool) -> None:
        """Choose size and time of the next chunk after one of *size* lines."""
        now = self._clock.monotonic()
        self._paced_until = now + size / self._replay_rate
        if now - self._replay_began > self.chain.plan.tiers[0].seconds * REPLAY_SHARE:
            self._chunk_lines = max(1, size // 2)
        elif done and size >= self._chunk_lines:
            self._chunk_lines = min(self._most_lines, self._chunk_lines * 2)

    def _acknowledge(self, chunk: Chunk, delivered: int) -> None:
        """Take *chunk* out of the store; *delivered* of its records are at the destination."""
        assert self.store is not None
        # Removing a finished file waits for the disk, and somebody may look meanwhile.
        self._moving = delivered + self._parted
        self.store.acknowledge(chunk)
        self._forget_copies(chunk)
        self._replayed.clear()
        self.replayed += delivered
        # All at once: whoever looks sees them in one place.
        self.delivered, self._moving, self._parted = self.delivered + delivered, 0, 0

    def _join_copies(self, batch: Batch, indices: Sequence[int]) -> None:
        """The store holds an id once: lines that it had a late copy of are that copy."""
        for index in indices if self._copies else ():
            self.adopted -= self._copies.pop(identify(batch[index]) or b"", 0)

    def _forget_copies(self, chunk: Chunk) -> None:
        for line in chunk.lines if self._copies else ():
            self._copies.pop(identify(line) or b"", None)
