"""
A writer: takes what is queued for one destination through its chain.

Rule 1: whoever runs a writer holds its chain's ticket, be it the writer's own
thread, a task on the engine's loop, a caller that helps, or the thread that
drains at exit. Everything under "the holder" below is for that one only.
Rule 2: counters move when a job is finished and nowhere else.
Rule 3: a record leaves the writer delivered, held, or dropped and counted.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from fallbacks.handover import claim, waive
from fallbacks.tier import Kind

from ..core.ids import guaranteed
from ..queue import Barrier, Entry, Fate, Fifo, State
from ._books import Books, Ledgerkeeper
from ._declarations import Declarations
from ._jobs import Job, JobKind, batch_of, fates, numbered
from ._rejecting import Rejects
from ._repairing import Repairs
from ._replaying import Replay

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fallbacks.batch import Batch
    from fallbacks.chain import Chain
    from fallbacks.clock import Clock
    from fallbacks.delivery import Delivery
    from fallbacks.held import HeldStore
    from fallbacks.steps import Settled

    from ._control import ControlStream

# So many lines in a batch, or waiting for one, are a flood.
_FLOOD: Final = 2_000

CLOSED: Final = "closed"
"""Reason of a drop: the deadline of close or exit passed, and no tier took the record."""
UNREADABLE: Final = "journal_unreadable"
"""Reason of a drop: only the journal had the record, and gives it back no more."""
QUOTA: Final = "quota"
"""Reason of a drop: no tier takes it, and the files of held lines have their quota."""


class Writer(Books):
    """
    One destination at run time.

    Args:
        name: The destination's name.
        chain: Its tiers.
        queue: Its FIFO.
        store: Where its lines are held for replay; None when it has no such place.
        batch: Most records in one batch.
        clock: Time.
        journal: Where guaranteed records are acknowledged.
        control: Makes control records; None when they are turned off.
        auditable: Whether the destination's own output can be audited, so that
            records which another tier took for good must be declared.
        closes: Whether a clean close is recorded. A console is read by people,
            who know that the program has ended.
        replay_rate: Held lines per second that the destination gets at most when
            it is back; None for as many as it takes.
    """

    def __init__(
        self,
        name: str,
        chain: Chain,
        queue: Fifo,
        *,
        store: HeldStore | None,
        batch: int,
        clock: Clock,
        journal: Ledgerkeeper,
        control: ControlStream | None,
        auditable: bool,
        closes: bool = True,
        replay_rate: float | None = None,
    ) -> None:
        super().__init__(name, chain, queue, store=store, clock=clock, journal=journal)
        rate = math.inf if replay_rate is None else replay_rate
        self.rejects = Rejects(self)
        self.repairs = Repairs(chain, clock, rate, self.doubt)
        self._replay = Replay(self, self.rejects, self.repairs, rate)
        self._declarations = Declarations(self, control, auditable=auditable, closes=closes)
        self._batch = batch
        self._fallbacks = set(range(len(chain.primaries), len(chain.tiers)))
        self._last = 0
        """How many lines the last batch had; 0 where there was nothing to do after it."""
        self._stalled = 0
        """How many guaranteed records at the front of the queue wait for room in the store."""
        self._fetched: deque[Barrier] = deque()
        """Marks in the queue, each behind what was fetched from the journal at a time."""
        self._replay_first = False
        self._hasten = False

    @property
    def stores(self) -> list[HeldStore]:
        """Where lines of this destination are: those that are held, and those that copies miss."""
        return [*([] if self.store is None else [self.store]), *self.repairs.stores]

    # -- any thread

    def barrier(self, fire: Barrier) -> None:
        """
        Queue *fire* behind everything that is queued now.

        Somebody waits for it, so tiers that rest after a failure are asked again.
        """
        self._hasten = True
        queue = self.queue
        # In the spill, what is in front of it is in front of it in the queue as well.
        (queue.spill or queue.entries).append(fire)
        self.hurry()

    def hurry(self) -> None:
        """Have the queue drained now instead of after the usual linger."""
        self.queue.ring()

    # -- the holder

    def claim(self, seconds: float = 0.0) -> None:
        """
        Claim the interpreter in a flood, from so many *seconds* on; else waive it.

        Where little is logged there is time between two calls, and a call that hands the
        interpreter over takes longer than all others.
        """
        if max(self._last, len(self.queue.entries)) >= _FLOOD:
            claim(seconds)
        else:
            waive()

    def next_job(
        self, tiers: Collection[int] | None, *, patient: bool, replay: bool = True
    ) -> Job | None:
        """
        Return the next thing to do; None when there is nothing.

        Args:
            tiers: The tiers that may be used; all when None.
            patient: Whether the job may wait for a tier to heal.
            replay: Whether held lines may be replayed, and what exceeds their
                quota be dropped; not by a caller that lends its thread.
        """
        self.claim()
        self.chain.absorb()
        if self._hasten:
            self._hasten = False
            for part in (self._declarations, self._replay, self.repairs):
                part.hasten()
            self.rejects.retry()
            self.chain.hasten()
        first = replay and self._replay_first
        if replay:
            self._replay_first = not first
        job = self._declarations.job(tiers, patient)
        if job is None and first:
            job = self._returning(tiers)
        if job is None:
            job = self._live_job(tiers, patient, sheds=replay)
        if job is None and replay and not first:
            job = self._returning(tiers)
        if job is not None:
            self.doubt.begin()
            self.job, self.queue.taken = job, []
        else:
            self._last = 0
            waive()
        return job

    @property
    def idle(self) -> bool:
        """Whether `next_job` would find nothing: asked before the writer goes to sleep."""
        queue = self.queue
        return not (
            queue.entries
            or queue.overflow
            or queue.waiting
            or queue.spill
            or self._declarations.ready
            or self._replay.ready
            or self.repairs.ready
        )

    def finish(self, job: Job, *, final: bool = False) -> bool:
        """
        Take in what became of *job*; return False when its lines had to stay.

        Args:
            job: The job, its delivery at an end.
            final: Whether lines that no tier took are dropped instead of put back.
        """
        self.doubt.raise_by(job)
        self._last = len(job.batch)
        match job.kind:
            case JobKind.LIVE:
                done = self._finish_live(job, final=final)
            case JobKind.CONTROL:
                # Live records need not wait for a declaration that has to wait.
                done = True
                self.rejects.part(job, {})
                self._declarations.finish(job)
            case JobKind.REPAIR:
                assert job.repair is not None
                done = job.repair.finish(job, self.clock.monotonic())
            case _:
                done = self._replay.finish(job)
        if done or final:
            # Those that have not passed when something is raised go back to the front.
            self.job, self.queue.taken = None, list(job.barriers)
        else:
            # Its lines are in the queue again: nothing may be raised before this.
            self.job = None
        self.doubt.settle_by(job)
        if self.herald is not None:
            self.herald.finished(self, job)
        waiting = self.queue.taken
        while waiting and (done or final):
            barrier = waiting[0]
            assert isinstance(barrier, Barrier)
            self._pass(barrier)
            del waiting[0]
        waive()
        return done

    def close_record(self) -> None:
        """Queue the record of a clean close behind everything else."""
        self.rejects.retry()
        if self._declarations.close():
            # The last chance of a tier that has been resting.
            self._hasten = True

    def abandon_rest(self) -> None:
        """At the very end: what the journal has stays there, everything else is dropped."""
        queue = self.queue
        while self._has_lines():
            _, entries, barriers = batch = batch_of(queue.take(self._batch))
            self._leave(batch[0], dict(entries), range(len(batch[0])), final=True)
            # Accounted for: whoever tidies up must not put it back.
            queue.taken = []
            queue.admit()
            for barrier in barriers:
                barrier.fire()

    def wait(self) -> float | None:
        """Return the seconds after which there will be something to do; None: when rung."""
        now = self.clock.monotonic()
        parts = (self._declarations, self._replay, self.repairs)
        waits = [wait for part in parts if (wait := part.wait(now)) is not None]
        return max(0.001, min(waits)) if waits else None

    # -- jobs

    def _returning(self, tiers: Collection[int] | None) -> Job | None:
        # What everybody lacks goes before what one copy lacks.
        return self._replay.job(tiers) or self.repairs.job(tiers)

    def _live_job(self, tiers: Collection[int] | None, patient: bool, *, sheds: bool) -> Job | None:
        queue = self.queue
        # What a closed journal was left with is for whoever takes it over.
        if (
            queue.overflow
            and not self.journal.closed
            and (
                len(queue.entries) <= queue.low_water
                # Barriers that wait for what is in the journal must not keep it there.
                or not queue.depth
            )
        ):
            self._fetch_overflow()
        if not self._has_lines():
            return None
        batch, entries, barriers = batch_of(queue.take(self._stalled or self._batch))
        queue.admit()
        # Only who has asked every fallback knows that none takes them.
        sheds = sheds and not self._stalled and (tiers is None or self._fallbacks <= set(tiers))
        self._stalled = 0
        delivery = self.chain.plan.begin(
            len(batch),
            tiers=None if tiers is None else tuple(tiers),
            patient=patient,
            had=self.repairs.had(batch),
            sheds=sheds,
        )
        return Job(JobKind.LIVE, batch, delivery, entries, barriers)

    def _has_lines(self) -> bool:
        """Return whether there is anything in the queue, or waits to be let in."""
        queue = self.queue
        if not queue.entries:
            queue.admit()
        return bool(queue.entries)

    # -- their ends

    def _finish_live(self, job: Job, *, final: bool) -> bool:
        delivery = job.delivery
        tiers = self.chain.tiers
        if not job.counted:
            missed = self.repairs.note_missed(job)
            self.repairs.remember(job.batch, delivery)
            # The file itself lacks them for good, and another copy has them.
            self._declarations.divert(job.batch, missed.get(0, ()), "copy")
            taken = sum(
                len(settled.indices)
                for settled in delivery.settled
                if tiers[settled.tier].kind is not Kind.HOLDING
            )
            # One step for a signal handler that raises; the rest may be done again.
            self.delivered, job.counted = self.delivered + taken, True
        for settled in delivery.settled:
            if tiers[settled.tier].kind is Kind.HOLDING:
                self._replay.held(job.batch, settled)
            elif self._strays(delivery, settled):
                self._declarations.divert(job.batch, settled.indices, tiers[settled.tier].name)
        entries = dict(job.entries)
        self.rejects.part(job, entries)
        if entries:
            self._settle(job, entries)
        left = delivery.left
        if left and delivery.full and (delivery.sheds or final):
            left = self._shed(job.batch, entries, left)
        if left:
            self._stalled = len(left) if delivery.full and not final else 0
            self._leave(job.batch, entries, left, job.barriers, final=final)
            return False
        return True

    def _shed(self, batch: Batch, entries: dict[int, Entry], left: Sequence[int]) -> Sequence[int]:
        """Drop the ordinary lines among those that no tier had room for; return the others."""
        kept: list[int] = []
        dropped: list[int] = []
        for index in left:
            if guaranteed(batch[index]):
                kept.append(index)
                continue
            dropped.append(index)
            if index in entries:
                self.drop(entries[index], QUOTA)
            else:
                self.note_drop(*numbered(batch[index]), QUOTA)
        # Copies that have some of them need not be remembered.
        self.repairs.had(batch.select(dropped))
        return kept

    def _strays(self, delivery: Delivery, settled: Settled) -> bool:
        """Return whether lines that were taken for good are not to come to the file itself."""
        if settled.tier in self.chain.primaries:
            return False
        copy = self.chain.plan.tiers[settled.tier].copy
        return copy is None or not delivery.rule.spreads

    def _settle(self, job: Job, entries: dict[int, Entry]) -> None:
        found = fates(job, self.chain.tiers)
        safe = [entry for index, entry in entries.items() if index in found]
        for index, entry in entries.items():
            if index in found:
                self.tell(entry, found[index])
        # Told first: a record that the journal moves must not be asked for here again.
        if any(entry.segment is not None for entry in safe):
            # No position vouches for a file that has records which are not acknowledged.
            position = None if self.repairs.partly else self.doubt.position
            self.journal.acknowledge(self.name, position, safe)

    def _leave(
        self,
        batch: Batch,
        entries: dict[int, Entry],
        left: Sequence[int],
        barriers: Sequence[Barrier] = (),
        *,
        final: bool,
    ) -> None:
        """Keep or drop the lines that no tier took; kept ones stay in front of their barriers."""
        if not final:
            kept = [entries.get(index, batch[index]) for index in left]
            self.queue.put_back([*kept, *barriers])
            return
        for index in left:
            entry = entries.get(index)
            if entry is None:
                self.note_drop(*numbered(batch[index]), CLOSED)
            elif entry.segment is not None:
                self.queue.overflow.append(entry)
                self.tell(entry, Fate(State.JOURNAL))
            else:
                self.drop(entry, CLOSED)

    def _pass(self, barrier: Barrier) -> None:
        if self._fetched and barrier is self._fetched[0]:
            barrier.fire()
        # What lies in the journal for want of room was accepted before the barrier was queued,
        # and stands behind it when it has been fetched.
        elif self.queue.overflow or self._fetched:
            self.queue.entries.append(barrier)
        elif self.spiller is not None:
            self.spiller.follow(barrier)
        else:
            barrier.fire()

    def _fetch_overflow(self) -> None:
        queue = self.queue
        room = max(1, queue.capacity - len(queue.entries))
        chosen = [queue.overflow.popleft() for _ in range(min(room, len(queue.overflow)))]
        self.journal.fetch(chosen)
        for entry in chosen:
            entry.fates.pop(self.name, None)
            if entry.line:
                queue.put(entry, len(entry.line))
            else:
                self.drop(entry, UNREADABLE)
        mark = Barrier(self._landed)
        self._fetched.append(mark)
        queue.entries.append(mark)

    def _landed(self) -> None:
        if self._fetched:
            self._fetched.popleft()
