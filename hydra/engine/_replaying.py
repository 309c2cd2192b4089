"""
Replay: held lines on their way back to the destination itself.

Rule 1: in order, in chunks, to the copies that the strategy names only (the first,
or all), and never waiting: what does not get through now is held as before.
Rule 2: no more lines in a second than the destination is said to bear.
Rule 3: a line that the destination may have already is looked up in its file,
where it has one; elsewhere it is sent again, with the same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.outcomes import Outcome

from ..core.ids import identify, weigh
from ._jobs import Job, JobKind, weight
from ._lookup import Lookup, file_among
from ._pace import REPLAY_BYTES, REPLAY_PAUSE, Pace, rest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fallbacks.held import Chunk
    from fallbacks.steps import Settled

    from ._books import Books
    from ._rejecting import Rejects
    from ._repairing import Repairs

# Seconds before replay is tried again after one that met a record which can be neither
# delivered nor kept aside.
STUCK_PAUSE: Final = 10.0
# Lines in the first chunk, and the part of an attempt's time that a chunk may take: who
# has been down for a day is not run down, and live records do not wait longer than that.
FIRST_LINES: Final = 250
REPLAY_SHARE: Final = 0.1


class Replay:
    """
    The jobs that empty one destination's held store. The ticket holder's.

    Args:
        books: The destination's account.
        rejects: Where what it refuses goes.
        repairs: Which copies have what already.
        rate: How many lines it gets back in a second at most.
    """

    def __init__(self, books: Books, rejects: Rejects, repairs: Repairs, rate: float) -> None:
        self._books = books
        self._chain = books.chain
        self._store = books.store
        self._rejects = rejects
        self._repairs = repairs
        self._pace = Pace(rate)
        self._chunk_lines = self._limit = min(FIRST_LINES, self._pace.most)
        self._began = 0.0
        self._replayed: set[bytes] = set()
        """Ids of the chunk under way that need not be offered again."""
        self._doubtful = False
        self._lookups: dict[int, Lookup] = {}
        """By copy, what has been found in its file."""
        self._copies: dict[bytes, int] = {}
        books.chain.on_late = self._note_late

    def _note_late(self, tier: int, batch: Batch, outcome: Outcome) -> None:
        # They went on to another tier, or back into the queue. What is held is a
        # copy, and is one delivery more until it is replayed, or meets its original.
        for line in self._books.kept_late(tier, batch, outcome):
            key = identify(line)
            if key is not None:
                self._doubtful = True
                self._copies[key] = weigh(line)
                self._books.adopted += weigh(line)

    @property
    def ready(self) -> bool:
        """Whether a chunk may be sent now."""
        return (
            self._store is not None
            # Not `held`: a control record that was held alone counts nothing there.
            and self._store.waiting
            and self._books.clock.monotonic() >= self._pace.ready_at
            and self._chain.healthy()
        )

    def wait(self, now: float) -> float | None:
        """Return the seconds until a chunk may be sent; None when nothing is held."""
        if self._store is None or not self._store.waiting:
            return None
        chain = self._chain
        return max(rest(chain.plan, chain.homes, now), self._pace.ready_at - now)

    def hasten(self) -> None:
        """Somebody waits: end a pause."""
        self._pace.at = 0.0

    def job(self, tiers: Collection[int] | None) -> Job | None:
        """Return a job with the oldest chunk; None when it has to be later, or there is none."""
        store, chain = self._store, self._chain
        if store is None or not self.ready:
            return None
        there: list[set[bytes]] = []
        try:
            if not (self._replayed or self._books.parted):
                # A chunk that was settled in part must not get shorter.
                self._limit = self._chunk_lines
            chunk = store.lines(self._limit, REPLAY_BYTES)
            suspect = chunk is not None and (chunk.suspect or self._doubtful)
            if suspect and chunk is not None:
                there = self._already_there(chunk)
        except OSError:
            chunk, suspect = None, False
        if chunk is None:
            # Held lines, or a file that may have them, cannot be read now: look again later,
            # not at once for ever.
            self._pace.at = self._books.clock.monotonic() + REPLAY_PAUSE
            return None
        lines: Sequence[bytes] = chunk.lines
        known = self._replayed
        spreads = chain.plan.rule.spreads
        if not spreads:
            known = known.union(*there)
        if known:
            lines = [line for line in lines if identify(line) not in known]
        batch = Batch(lines, duplicate=suspect)
        had = self._repairs.had(batch)
        for index, line in enumerate(batch) if spreads and any(there) else ():
            key = identify(line)
            had[index] = had.get(index, 0) | sum(
                1 << c for c, ids in enumerate(there) if key in ids
            )
        homes = (*chain.homes, *(chain.repairs.values() if spreads else ()))
        allowed = [index for index in homes if tiers is None or index in tiers]
        delivery = chain.plan.begin(len(batch), tiers=allowed, patient=False, had=had)
        self._began = self._books.clock.monotonic()
        return Job(JobKind.REPLAY, batch, delivery, chunk=chunk)

    def _already_there(self, chunk: Chunk) -> list[set[bytes]]:
        """Return, for each copy that held lines go back to, the ids of *chunk* in its file."""
        chain = self._chain
        copies = chain.copies if chain.plan.rule.shares else chain.copies[:1]
        found: list[set[bytes]] = []
        for copy, tiers in enumerate(copies):
            if copy not in self._lookups and (file := file_among(chain, tiers)) is not None:
                self._lookups[copy] = Lookup(file)
            lookup = self._lookups.get(copy)
            # What the chunk knows about positions is about the destination's own file.
            scan = None if copy else chunk.scan
            found.append(set() if lookup is None else lookup.there(chunk, scan))
        return found

    def finish(self, job: Job) -> bool:
        """Take in what became of *job*; return whether all of it has left the store."""
        assert self._store is not None
        assert job.chunk is not None
        if job.counted:
            # Something was raised behind it.
            return True
        books, delivery, batch = self._books, job.delivery, job.batch
        rejected = len(delivery.rejected)
        refused = self._rejects.part(job, {})
        books.parted += weight(refused)
        stuck = len(refused) < rejected
        self._repairs.note_missed(job)
        self._repairs.remember(batch, delivery)
        self._adapt(len(batch), done=not delivery.left)
        if not delivery.left and not stuck:
            self._acknowledge(job, job.chunk, weight(job.chunk.lines) - books.parted)
            self._doubtful = self._doubtful and self._store.held > 0
            if not self._store.waiting:
                self._lookups.clear()
            return True
        taken = [batch[index] for settled in delivery.settled for index in settled.indices]
        self._replayed.update(
            key for line in (*taken, *refused) if (key := identify(line)) is not None
        )
        self._pace.at = books.clock.monotonic() + (STUCK_PAUSE if stuck else REPLAY_PAUSE)
        return False

    def _adapt(self, size: int, *, done: bool) -> None:
        """Choose size and time of the next chunk after one of *size* lines."""
        now = self._books.clock.monotonic()
        self._pace.sent(size, now)
        if now - self._began > self._chain.plan.tiers[0].seconds * REPLAY_SHARE:
            self._chunk_lines = max(1, size // 2)
        elif done and size >= self._chunk_lines:
            self._chunk_lines = min(self._pace.most, self._chunk_lines * 2)

    def _acknowledge(self, job: Job, chunk: Chunk, delivered: int) -> None:
        """Take *chunk* out of the store; *delivered* of its records are at the destination."""
        assert self._store is not None
        books = self._books
        # Removing a finished file waits for the disk, and somebody may look meanwhile.
        books.moving = delivered + books.parted
        self._store.acknowledge(chunk)
        self._forget_copies(chunk)
        self._replayed.clear()
        counts = books.delivered + delivered, books.replayed + delivered, 0, 0, True
        # All at once: whoever looks sees them in one place, and nothing comes between.
        books.delivered, books.replayed, books.moving, books.parted, job.counted = counts

    def held(self, batch: Batch, settled: Settled) -> None:
        """Take note that the store has lines of *batch* now."""
        self._doubtful = self._doubtful or settled.suspect or bool(self._books.doubt)
        # The store holds an id once: lines that it had a late copy of are that copy.
        for index in settled.indices if self._copies else ():
            self._books.adopted -= self._copies.pop(identify(batch[index]) or b"", 0)

    def _forget_copies(self, chunk: Chunk) -> None:
        for line in chunk.lines if self._copies else ():
            self._copies.pop(identify(line) or b"", None)
