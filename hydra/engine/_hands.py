"""
Draining on the thread at hand: the writer's own, a caller's that helps, or a test's.

Rule 1: every way in here takes the ticket, or is called by its holder.
Rule 2: a caller is never made to run foreign code, only files and consoles of ours.
Rule 3: what a signal handler interrupts by raising is put back before the ticket is.
"""

from __future__ import annotations

import math
from _thread import get_ident
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from fallbacks.breaker import State
from fallbacks.outcomes import Partial, Retryable, Unknown
from fallbacks.tier import SyncTier
from fallbacks.tiers import StreamTier

from ._bell import Bell
from ._jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from fallbacks.chain import Chain
    from fallbacks.position import Position

    from ._jobs import Job
    from ._writer import Writer

# More lines than this are not rendered on a caller's event loop for the sake of one.
_INSTANT: Final = 200

# Seconds for which a call after the close waits for its turn to write.
_TURN: Final = 1.0

INTERRUPTED: Final = "interrupted by an exception out of a signal handler"


class Hands:
    """
    Take a writer's jobs through its chain.

    Args:
        writer: The writer.
        safe: Indices of the chain's own sync tiers, those that a caller may be
            made to run: files and consoles, never foreign code.
        draining: Idents of threads that drain some destination right now.
    """

    def __init__(self, writer: Writer, *, safe: tuple[int, ...], draining: set[int]) -> None:
        self.writer = writer
        self.queue = writer.queue
        self.chain = chain = writer.chain
        self._safe = safe
        self._streams = tuple(i for i in safe if isinstance(chain.tiers[i], StreamTier))
        self._draining = draining
        self._bell = Bell()
        self.due = False
        """Whether what was queued when the close began has been dealt with, and others go on."""
        self.retired = False
        """Whether another run is in force: nobody comes back for what is opened from now on."""
        self._closed = False
        self.on_left: Callable[[], object] = lambda: None
        """Told when files of held lines have been let go of, for somebody to take over."""
        self._stuck_at: int | None = None
        self._helped = False

    def help(self, *, final: bool = False, wait: bool = True, seconds: float = math.inf) -> bool:
        """
        Drain on the calling thread, if nobody else is draining.

        Args:
            final: Whether what no tier takes is dropped instead of kept.
            wait: Whether tiers may wait for room; on an event loop they may not,
                and only a console is tried, once.
            seconds: How long to wait for a console at most, and to go on draining
                what others add meanwhile.

        Returns:
            Whether the queue was found empty in the end. False also when this
            call interrupted a drain (a signal handler): that one will find the
            new line when it goes on.
        """
        if final:
            return self._drain_here(self._safe, seconds, final=True)
        if wait:
            return self._drain_here(self._helpful, seconds)
        if len(self.queue.entries) > _INSTANT or not self._has_room():
            return False
        return self._drain_here(self._instant, 0.0)

    @property
    def _helpful(self) -> tuple[int, ...]:
        """
        The tiers that a caller may be made to run for the sake of its record.

        It helps only where it can reach the destination itself, and each copy that is
        to have the record. Fallbacks and repair are for when one of them fails, not for
        when it must be left to another thread.
        """
        chain = self.chain
        wanted = chain.copies if chain.plan.rule.spreads else chain.copies[:1]
        return self._safe if all(set(self._safe) & set(copy) for copy in wanted) else ()

    @property
    def _instant(self) -> tuple[int, ...]:
        """The consoles that may be tried on an event loop; none where there is more to reach."""
        chain = self.chain
        alone = not chain.plan.rule.spreads
        return tuple(i for i in self._streams if i in chain.primaries) if alone else ()

    @property
    def stuck(self) -> bool:
        """Whether a caller waited in vain, and no tier has taken anything since."""
        return self._stuck_at == self._taken()

    def note_stuck(self) -> None:
        """Note that a caller waited a full timeout in vain."""
        self._stuck_at = self._taken()

    def _taken(self) -> int:
        return sum(meter.taken for meter in self.chain.meters)

    def _has_room(self) -> bool:
        """Return whether the console takes anything now: a refusal would count as its failure."""
        tiers = self.chain.tiers
        return any(
            isinstance(tier := tiers[index], StreamTier) and tier.has_room()
            for index in self._instant
        )

    def _drain_here(self, tiers: tuple[int, ...], seconds: float, *, final: bool = False) -> bool:
        ticket, queue = self.chain.ticket, self.queue
        release = ticket.giving_back
        ident = get_ident()
        until = monotonic() + seconds
        # After the close nobody else may come for a line that is left to whoever drains, and
        # of a retired run nobody does.
        patience = (_TURN if self.retired else min(seconds, _TURN)) if final else 0
        # At the end, where no tier is left that a caller may run, what is queued would
        # stay for ever: it is dropped, and counted.
        while queue.entries and (tiers or final) and ident not in self._draining:
            before = len(queue.entries)
            held = False
            try:
                # Before the ticket: a handler that logs while this waits must not wait for it.
                self._draining.add(ident)
                # In here, since a handler may raise as soon as the ticket is ours.
                held = ticket.acquire(patience)
                if not held:
                    return False
                self._helped = True
                with _within(self.chain, tiers, seconds, rested=not final):
                    held = self._drain(
                        tiers, patient=False, replay=False, final=final, until=until, lent=True
                    )
                if final and held and self.retired:
                    self._close_tiers()
            finally:
                # One in the other: a handler may raise in here, too.
                try:
                    self._draining.discard(ident)
                finally:
                    if held:
                        try:
                            self._tidy()
                        finally:
                            self._helped = False
                            release()
            # Without an end to come, lines that no tier took are in the queue again.
            stayed = not final and len(queue.entries) >= before
            if not held or stayed or monotonic() >= until:
                break
        return not queue.entries

    def _close_tiers(self) -> None:
        """With the ticket in hand: close the descriptors of our own tiers; a write reopens."""
        chain = self.chain
        for index in self._safe:
            tier = chain.tiers[index]
            spiller = self.writer.spiller if tier is self.writer.store else None
            # A store that the spiller hangs in would not let anybody in here either.
            if isinstance(tier, SyncTier) and (spiller is None or not spiller.busy):
                try:
                    tier.close()
                except Exception as error:
                    chain.meters[index].fail(error)
        store = self.writer.store
        if store is not None and store not in chain.tiers:
            # No tier holds anything there, but it has what dead runs left.
            store.close()
        if any(store.left for store in self.writer.stores):
            self.on_left()

    def pump(self) -> bool:
        """
        Run jobs on the calling thread until there are none; never wait for a tier to heal.

        For a run that was built without threads: nobody else serves its writer.
        Unlike `help` it uses every sync tier, and replays.

        Returns:
            False when somebody else drains, or the ticket was stolen meanwhile.
        """
        ticket, ident = self.chain.ticket, get_ident()
        spiller = self.writer.spiller
        while spiller is not None and (self.queue.spill or spiller.busy) and spiller.work():
            """Its thread would have done so."""
        if ident in self._draining or not ticket.acquire(0):
            return False
        held = True
        try:
            self._draining.add(ident)
            self._helped = True
            held = self._drain(self.chain.sync_tiers, patient=False)
        finally:
            self._draining.discard(ident)
            if held:
                try:
                    self._tidy()
                finally:
                    self._helped = False
                    ticket.release()
        self.declare_idle()
        return held

    def _tidy(self) -> None:
        """
        Put back what an exception left half done; the caller holds the ticket.

        It came out of a signal handler, for one, somewhere between the taking of
        a batch and the end of its job.
        """
        chain, writer = self.chain, self.writer
        section = chain.ticket.section
        if section is not None:
            chain.ticket.leave(section)
            chain.ticket.section = None
        self.queue.restore()
        job = writer.job
        if job is None:
            return
        delivery = job.delivery
        if delivery.trying is not None:
            self._take_in_held(job)
        if delivery.trying is not None:
            # A tier cannot be blamed for it. One that was on probation cannot
            # stay so either, or nobody would ever try it again.
            if chain.plan.tiers[delivery.trying].breaker.state is State.PROBING:
                delivery.feed(Unknown(INTERRUPTED), chain.clock.monotonic())
            delivery.trying = None
            # How far its call came, nobody knows.
            delivery.suspect = True
        writer.finish(job)

    def _take_in_held(self, job: Job) -> None:
        """Feed what the store has of the lines whose holding was interrupted: it has them once."""
        delivery, store = job.delivery, self.writer.store
        if store is None or self.chain.tiers[delivery.trying or 0] is not store:
            return
        taken = store.among([job.batch[index] for index in delivery.given])
        if taken:
            outcome = Partial(taken, Retryable(INTERRUPTED))
            delivery.feed(outcome, self.chain.clock.monotonic())

    def declare_idle(self) -> bool:
        """Say that the writer is idle, unless there is something to do after all."""
        self.queue.idle = True
        if self.writer.idle:
            return True
        self.queue.idle = False
        return False

    def _drain(
        self,
        tiers: tuple[int, ...],
        *,
        patient: bool,
        replay: bool = True,
        final: bool = False,
        until: float = math.inf,
        lent: bool = False,
        least: int = 0,
    ) -> bool:
        """
        Run jobs until there are none; return False when the ticket was stolen meanwhile.

        None is begun after *until*, but the first, nor where fewer items than *least* are
        queued: they wait for company.
        """
        writer, chain = self.writer, self.chain
        if writer.job is not None:
            # Whoever was to put it back had no memory for it.
            self._tidy()
        if final:
            # Nobody comes back for what is dropped now: a tier that rests may be well again.
            chain.hasten()
        while (job := writer.next_job(tiers, patient=patient, replay=replay)) is not None:
            if not chain.run(job.delivery, job.batch, self._pause, lent=lent):
                return False
            if not writer.finish(job, final=final):
                if final:
                    # Nothing takes them. Only here: where the queue was found empty, what
                    # is in it now came a moment later, and those who logged it write it.
                    writer.abandon_rest()
                break
            if self.due or 0 < len(self.queue.entries) < least or monotonic() >= until:
                break
        return True

    def _finish_job(self, tiers: tuple[int, ...] | None, *, final: bool = False) -> bool:
        """Go on with the job of a holder whose ticket was stolen; None: as it was begun."""
        job = self.writer.job
        if job is None:
            return True
        if job.kind not in {JobKind.REPLAY, JobKind.REPAIR}:
            job.delivery.restrict(tiers or self.chain.sync_tiers, patient=tiers is None)
        if final:
            self.chain.hasten()
        if not self.chain.run(job.delivery, job.batch, self._pause):
            return False
        self.writer.finish(job, final=final)
        return True

    def _pause(self, seconds: float) -> object:
        return self._bell.wait(seconds)

    # -- what others left

    def adopt(self) -> None:
        """Take over the held files of dead processes, and of closed runs of this one."""
        store = self.writer.store
        if store is not None:
            with self._ticket():
                if self._closed:
                    # Its own held lines would be found among those of the dead, and counted
                    # a second time. The next run finds them all.
                    return
                self.writer.adopted += store.adopt()
                # What copies miss is delivered already.
                for missed in self.writer.repairs.stores:
                    missed.adopt()
            self.queue.ring()

    def take_over(self, run: str, lines: list[bytes], scan: Position | None) -> None:
        """
        Put *lines* that the journal of a dead *run* still had into the store.

        Raises:
            OSError: If the store cannot take them.
        """
        store = self.writer.store
        assert store is not None
        with self._ticket():
            self.writer.adopted += store.import_lines(run, lines, scan)
        self.queue.ring()

    def hand_over(self, keys: Container[object]) -> None:
        """Strike the records with *keys* out of the books: a later run has them in its own."""
        writer, overflow = self.writer, self.queue.overflow
        with self._ticket():
            kept = [entry for entry in overflow if entry.key not in keys]
            writer.adopted -= len(overflow) - len(kept)
            overflow.clear()
            overflow.extend(kept)

    @contextmanager
    def _ticket(self) -> Iterator[None]:
        self.chain.ticket.acquire()
        try:
            yield
        finally:
            self.chain.ticket.release()


@contextmanager
def _within(
    chain: Chain, tiers: tuple[int, ...], seconds: float, *, rested: bool
) -> Iterator[None]:
    """
    Have the consoles among *tiers* wait for room up to *seconds*; 0: not at all.

    Unless *rested*, a console that is to be asked while it rests is not waited for:
    one that nobody reads must not cost each caller the time.
    """
    streams = {i: tier for i in tiers if isinstance(tier := chain.tiers[i], StreamTier)}
    timeouts = {i: tier.timeout for i, tier in streams.items()}
    for i, tier in streams.items():
        resting = chain.plan.tiers[i].breaker.state is State.OPEN
        tier.timeout = 0.0 if resting and not rested else min(tier.timeout, seconds)
    try:
        yield
    finally:
        for i, tier in streams.items():
            tier.timeout = timeouts[i]
