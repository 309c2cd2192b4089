"""
A writer: takes what is queued for one destination through its chain.

Rule 1: whoever runs a writer holds its chain's ticket, be it the writer's own
thread, a task on the engine's loop, a caller that helps, or the thread that
drains at exit. Everything under "the holder" below is for that one only.
Rule 2: counters move when a job is finished and nowhere else.
Rule 3: a record leaves the writer delivered, held, or dropped and counted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.ledger import Drops
from fallbacks.strategy import Rule, Strategy
from fallbacks.tier import Kind
from fallbacks.tiers import AsyncFileTier, FileTier

from ..core.ids import guaranteed
from ..queue import Barrier, Entry, Fate, Fifo, State
from ._books import Ledgerkeeper
from ._jobs import REPLAY_PAUSE, Job, JobKind, batch_of, fates, numbered
from ._replaying import Replaying

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from fallbacks.chain import Chain
    from fallbacks.clock import Clock
    from fallbacks.delivery import Delivery
    from fallbacks.held import HeldStore
    from fallbacks.position import Position
    from fallbacks.steps import Settled

    from ._control import ControlStream

# Seconds between two control records that declare drops.
REPORT_EVERY: Final = 1.0

_DECLARED: Final = Rule(Strategy.MIRROR)

CLOSED: Final = "closed"
"""Reason of a drop: the deadline of close or exit passed, and no tier took the record."""
UNREADABLE: Final = "journal_unreadable"
"""Reason of a drop: only the journal had the record, and gives it back no more."""
QUOTA: Final = "quota"
"""Reason of a drop: no tier takes it, and the files of held lines have their quota."""


class Writer(Replaying):
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
        super().__init__(
            name,
            chain,
            queue,
            store=store,
            clock=clock,
            journal=journal,
            replay_rate=replay_rate,
        )
        self.diverted = Drops(clock)
        self._batch = batch
        self._control = control
        self._auditable = auditable
        self._closes = closes
        self._controls: list[bytes] = []
        self._declare_at = 0.0
        self._closing = False
        self._fallbacks = set(range(len(chain.primaries), len(chain.tiers)))
        self._stalled = 0
        """How many guaranteed records at the front of the queue wait for room in the store."""
        self._reported_at = -REPORT_EVERY
        self._replay_first = False
        self._hasten = False

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
        self.chain.absorb()
        if self._hasten:
            self._hasten = False
            self._replay_at = self._declare_at = 0.0
            self._hasten_repairs()
            self.retry_stranded()
            self.chain.hasten()
        order: list[Callable[[Collection[int] | None, bool], Job | None]]
        order = [self._control_job, partial(self._live_job, sheds=replay)]
        if replay:
            order.insert(1 if self._replay_first else 2, self._replay_job)
            self._replay_first = not self._replay_first
            # What everybody lacks goes before what one copy lacks.
            order.insert(order.index(self._replay_job) + 1, self._repair_job)
        for find in order:
            job = find(tiers, patient)
            if job is not None:
                self.job, self.queue.taken = job, []
                return job
        return None

    @property
    def idle(self) -> bool:
        """Whether `next_job` would find nothing: asked before the writer goes to sleep."""
        queue = self.queue
        return not (
            queue.entries
            or queue.overflow
            or queue.waiting
            or queue.spill
            or (self._controls and self._can_declare())
            or self._can_replay()
            or self._can_repair()
        )

    def finish(self, job: Job, *, final: bool = False) -> bool:
        """
        Take in what became of *job*; return False when its lines had to stay.

        Args:
            job: The job, its delivery at an end.
            final: Whether lines that no tier took are dropped instead of put back.
        """
        match job.kind:
            case JobKind.LIVE:
                done = self._finish_live(job, final=final)
            case JobKind.CONTROL:
                # Live records need not wait for a declaration that has to wait.
                done = True
                self._part_with_rejected(job, {})
                left = [job.batch[index] for index in job.delivery.left]
                self._controls[: len(job.batch)] = left
                if left:
                    self._declare_at = self._clock.monotonic() + REPORT_EVERY
            case JobKind.REPAIR:
                assert job.repair is not None
                done = job.repair.finish(job, self._clock.monotonic())
            case _:
                done = self._finish_replay(job)
        self.job = None
        if self.herald is not None:
            self.herald.finished(self, job)
        if done or final:
            for barrier in job.barriers:
                self._pass(barrier)
        return done

    def close_record(self) -> None:
        """Queue the record of a clean close behind everything else."""
        self.retry_stranded()
        if self._control is None:
            return
        # The last chance of a tier that has been resting.
        self._closing = self._hasten = True
        self._report(final=True)
        if not self._closes:
            return
        totals = {stream.label: stream.issued for stream in self.streams if stream.issued}
        self._controls.append(self._control.close(totals, self._clock.time_ns()))

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
        now = self._clock.monotonic()
        waits: list[float] = []
        if self._controls:
            waits.append(self._declare_at - now)
        elif self._control is not None and (self.drops.unreported or self.diverted.unreported):
            waits.append(self._reported_at + REPORT_EVERY - now)
        if self.store is not None and self.store.waiting:
            plan = self.chain.plan
            # A busy tier is free when its abandoned call returns, which nobody can foretell.
            rest = min(
                REPLAY_PAUSE if plan.tiers[tier].busy else plan.tiers[tier].breaker.wait(now)
                for tier in self.chain.homes
            )
            waits.append(max(rest, self._replay_from - now))
        repair = self._repair_wait(now)
        if repair is not None:
            waits.append(repair)
        return max(0.001, min(waits)) if waits else None

    # -- jobs

    def _control_job(self, tiers: Collection[int] | None, patient: bool) -> Job | None:
        self._report(final=False)
        if not self._controls or not self._can_declare():
            return None
        batch = Batch(list(self._controls))
        if not self._closing:
            # Live records must not wait for it, wherever it can go.
            if self._auditable:
                tiers = [i for i in self._declaring() if tiers is None or i in tiers]
            patient = False
        # One copy is enough, since nobody is promised more of what the engine itself says.
        rule = _DECLARED if self.chain.plan.rule.spreads else None
        delivery = self._begin(len(batch), tiers, patient, rule=rule)
        return Job(JobKind.CONTROL, batch, delivery)

    def _declaring(self) -> list[int]:
        """
        Return the tiers that a file's declarations go to.

        A file has to declare by itself what it lacks. What it cannot take now waits;
        standard error would take it, and nobody would look for it there.
        """
        chain = self.chain
        files = chain.homes if chain.plan.rule.spreads else chain.primaries
        kinds = [tier.kind for tier in chain.plan.tiers]
        return [i for i, kind in enumerate(kinds) if i in files or kind is not Kind.FINAL]

    def _can_declare(self) -> bool:
        return self._clock.monotonic() >= self._declare_at

    def _live_job(self, tiers: Collection[int] | None, patient: bool, *, sheds: bool) -> Job | None:
        queue = self.queue
        # What a closed journal was left with is for whoever takes it over.
        if (
            queue.overflow
            and not self._journal.closed
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
        delivery = self._begin(len(batch), tiers, patient, had=self._had(batch), sheds=sheds)
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
        primaries, tiers = self.chain.primaries, self.chain.tiers
        if not job.counted:
            missed = self._note_missed(job)
            self._remember(job.batch, delivery)
            if self._auditable:
                # The file itself lacks them for good, and another copy has them.
                self._divert(job.batch, missed.get(0, ()), "copy")
            taken = sum(
                len(settled.indices)
                for settled in delivery.settled
                if tiers[settled.tier].kind is not Kind.HOLDING
            )
            # One step for a signal handler that raises; the rest may be done again.
            self.delivered, job.counted = self.delivered + taken, True
        for settled in delivery.settled:
            if tiers[settled.tier].kind is Kind.HOLDING:
                self._doubtful = self._doubtful or settled.suspect
                self._join_copies(job.batch, settled.indices)
            elif (
                self._auditable
                and settled.tier not in primaries
                and self._strays(delivery, settled)
            ):
                self._divert(job.batch, settled.indices, tiers[settled.tier].name)
        entries = dict(job.entries)
        self._part_with_rejected(job, entries)
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
        self._had(batch.select(dropped))
        return kept

    def _strays(self, delivery: Delivery, settled: Settled) -> bool:
        """Return whether lines that a tier other than the file's has are not to come there."""
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
            position = None if self._partly else self._position()
            self._journal.acknowledge(self.name, position, safe)

    def _position(self) -> Position | None:
        """Return where the destination's file ends, if it is a file."""
        for index in self.chain.primaries:
            tier = self.chain.tiers[index]
            if isinstance(tier, FileTier | AsyncFileTier) and (found := tier.position()):
                return found
        return None

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
        # What lies in the journal for want of room was accepted before the barrier was queued.
        if self.queue.overflow:
            self.queue.entries.append(barrier)
        elif self.spiller is not None:
            self.spiller.follow(barrier)
        else:
            barrier.fire()

    def _fetch_overflow(self) -> None:
        queue = self.queue
        room = max(1, queue.capacity - len(queue.entries))
        chosen = [queue.overflow.popleft() for _ in range(min(room, len(queue.overflow)))]
        self._journal.fetch(chosen)
        for entry in chosen:
            entry.fates.pop(self.name, None)
            if entry.line:
                queue.put(entry, len(entry.line))
            else:
                self.drop(entry, UNREADABLE)

    # -- control records

    def _divert(self, batch: Batch, indices: Sequence[int], tier: str) -> None:
        for index in indices:
            self.diverted.note(*numbered(batch[index]), f"tier:{tier}")

    def _report(self, *, final: bool) -> None:
        if self._control is None:
            return
        now = self._clock.monotonic()
        # What is not written yet is not added to: an outage must not fill the memory.
        if not final and (self._controls or now - self._reported_at < REPORT_EVERY):
            return
        for tally, event, said in (
            (self.drops, "drops", "dropped"),
            (self.diverted, "diverted", "delivered by another tier"),
        ):
            report = tally.report() if tally.unreported else None
            if report is not None:
                self._reported_at = now
                self._controls += self._control.report(event, said, report, self._clock.time_ns())
