"""
Replay: held lines on their way back to the destination itself.

Rule 1: in order, in chunks, to the primary tiers only, and never waiting: what
does not get through now is held as before.
Rule 2: a line that the destination may have already is looked up in its file,
where it has one; elsewhere it is sent again, with the same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.outcomes import Outcome
from fallbacks.tiers import FileTier

from ..core.ids import identify, weigh
from ._jobs import REPLAY_BYTES, REPLAY_LINES, Job, JobKind, weight
from ._rejecting import Rejecting

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fallbacks.chain import Chain
    from fallbacks.clock import Clock
    from fallbacks.delivery import Delivery
    from fallbacks.held import Chunk, HeldStore

    from ..queue import Fifo
    from ._books import Ledgerkeeper

# Seconds before replay is tried again after one that got nowhere.
REPLAY_PAUSE: Final = 0.5
# How many lines, and bytes, are looked up in a destination's file at a time.
SCAN_LINES: Final = 100_000
SCAN_BYTES: Final = 8 << 20


class Replaying(Rejecting):
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
    ) -> None:
        super().__init__(name, chain, queue, store=store, clock=clock, journal=journal)
        self._replayed: set[bytes] = set()
        """Ids of the chunk under way that need not be offered again."""
        self._refused = 0
        """How many records of that chunk were refused for good."""
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

    def _begin(self, size: int, tiers: Collection[int] | None, patient: bool) -> Delivery:
        return self.chain.plan.begin(
            size, tiers=None if tiers is None else tuple(tiers), patient=patient
        )

    def _can_replay(self) -> bool:
        return (
            self.store is not None
            # Not `held`: a control record that was held alone counts nothing there.
            and self.store.waiting
            and self._clock.monotonic() >= self._replay_at
            and self.chain.healthy()
        )

    def _replay_job(self, tiers: Collection[int] | None, patient: bool) -> Job | None:
        if self.store is None or not self._can_replay():
            return None
        file = self._file()
        try:
            chunk = self.store.lines(REPLAY_LINES, REPLAY_BYTES)
            suspect = chunk is not None and (chunk.suspect or self._doubtful)
            if suspect and file is not None:
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
        if suspect and file is not None:
            known = known | self._already_there(chunk, file)
        if known:
            lines = [line for line in lines if identify(line) not in known]
        batch = Batch(lines, duplicate=suspect)
        primaries = [i for i in self.chain.primaries if tiers is None or i in tiers]
        delivery = self._begin(len(batch), primaries, patient=False)
        return Job(JobKind.REPLAY, batch, delivery, chunk=chunk)

    def _file(self) -> FileTier | None:
        """Return the tier that can tell what is in the destination's file, if it is one."""
        for index in self.chain.primaries:
            tier = self.chain.tiers[index]
            if isinstance(tier, FileTier):
                return tier
        return None

    @staticmethod
    def _already_there(chunk: Chunk, file: FileTier) -> set[bytes]:
        """Return the ids of *chunk* that stand in *file*; none when it cannot be read."""
        ids = {key for line in chunk.lines if (key := identify(line)) is not None}
        try:
            return file.scan(ids, chunk.scan, identify)
        except OSError:
            # A file that cannot be read: a line twice, with the same id, is the lesser evil.
            return set()

    def _finish_replay(self, job: Job) -> bool:
        assert self.store is not None
        assert job.chunk is not None
        delivery, batch = job.delivery, job.batch
        refused = self._part_with_rejected(job, {})
        self._refused += weight(refused)
        if not delivery.left:
            self._acknowledge(job.chunk, weight(job.chunk.lines) - self._refused)
            self._doubtful = self._doubtful and self.store.held > 0
            return True
        taken = [batch[index] for settled in delivery.settled for index in settled.indices]
        self._replayed.update(
            key for line in (*taken, *refused) if (key := identify(line)) is not None
        )
        self._replay_at = self._clock.monotonic() + REPLAY_PAUSE
        return False

    def _acknowledge(self, chunk: Chunk, delivered: int) -> None:
        """Take *chunk* out of the store; *delivered* of its records are at the destination."""
        assert self.store is not None
        # Removing a finished file waits for the disk, and somebody may look meanwhile.
        self._moving = delivered
        self.store.acknowledge(chunk)
        self._forget_copies(chunk)
        self._replayed.clear()
        self._refused = 0
        self.replayed += delivered
        self.delivered, self._moving = self.delivered + delivered, 0

    def _join_copies(self, batch: Batch, indices: Sequence[int]) -> None:
        """The store holds an id once: lines that it had a late copy of are that copy."""
        for index in indices if self._copies else ():
            self.adopted -= self._copies.pop(identify(batch[index]) or b"", 0)

    def _forget_copies(self, chunk: Chunk) -> None:
        for line in chunk.lines if self._copies else ():
            self._copies.pop(identify(line) or b"", None)
