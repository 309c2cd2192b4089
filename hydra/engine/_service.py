"""
Who runs a writer: its own thread, the engine's loop, or whoever logs.

Rule 1: a producer rings only when the FIFO says that the writer is idle; what
ringing does is the current mode's business.
Rule 2: threads are started by `_thread.start_new_thread`: `threading.Thread.start`
waits on a condition, and a first record may be logged in a signal handler.
Rule 3: a thread that finds its ticket stolen ends at once. The thief started
another one, which goes on with the same job.

    NEW --ring--> THREAD --move--> LOOP
     ^--park--'    |  ^--stall--'    |
                   '----close--------'--> DIRECT
"""

from __future__ import annotations

import math
from _thread import allocate_lock, get_ident, start_new_thread
from collections import deque
from contextlib import contextmanager
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Final

from fallbacks.breaker import State
from fallbacks.held import HeldStore
from fallbacks.outcomes import Unknown
from fallbacks.tier import SyncTier
from fallbacks.tiers import AsyncFileTier, FileTier, StreamTier

from ._bell import Bell
from ._jobs import JobKind
from ._waiting import running_loop, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fallbacks.chain import Chain
    from fallbacks.meter import Meter
    from fallbacks.position import Position

    from ._loop import EngineLoop
    from ._watchdog import Watchdog
    from ._writer import Writer

# Seconds that a woken writer waits for company: the price of a record's latency
# for not waking up once per record.
LINGER: Final = 0.005

# Seconds between two looks at a loop that is being started; it rings when it is ready.
_LOOP_START: Final = 1.0

# Seconds for which the end of a destination is tried against a holder that does not let go.
_SEIZE: Final = 1.0

# More lines than this are not rendered on a caller's event loop for the sake of one.
_INSTANT: Final = 200

# Seconds for which a call after the close may wait for a console.
_DIRECT: Final = 1.0

# Seconds that a writer rests after an error of its own.
_CRASHED: Final = 0.1

# Seconds that a sink gets to close; one that takes longer is left to do so alone.
_LET_GO: Final = 0.5

STALLED: Final = "no answer within its deadline"
LOOP_ENDED: Final = "its event loop has ended"
INTERRUPTED: Final = "interrupted by an exception out of a signal handler"
AT_EXIT: Final = "interrupted by the end of the process"


class Mode(Enum):
    """Who runs the writer."""

    NEW = "new"
    """Nobody yet: the next record starts a thread."""
    THREAD = "thread"
    LOOP = "loop"
    DIRECT = "direct"
    """The callers themselves, after `close` and at exit."""


class Service:
    """
    Run one writer.

    Args:
        writer: The writer.
        safe: Indices of the chain's own sync tiers, those that a caller may be
            made to run: files and consoles, never foreign code.
        watchdog: Told when the writer gets busy.
        draining: Idents of threads that drain some destination right now.
        loop: The engine's loop, for chains that have an async tier; None for others.
        loop_only: Whether the destination itself is async, so that a thread
            could only serve its fallbacks.
        threaded: False for tests that pump the writer by hand.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        safe: tuple[int, ...],
        watchdog: Watchdog,
        draining: set[int],
        loop: EngineLoop | None,
        loop_only: bool = False,
        threaded: bool = True,
    ) -> None:
        self.writer = writer
        self.queue = writer.queue
        self.chain = chain = writer.chain
        self.loop = loop
        self.mode = Mode.NEW
        self.closing = False
        self.crashes = 0
        self.leaving = False
        self.predecessor: Service | None = None
        self.on_closed: Callable[[], object] = lambda: None
        self._safe = safe
        # A caller helps only where it can reach the destination itself. Its fallbacks
        # are for when that fails, not for when it must be left to another thread.
        own = set(safe) & set(chain.primaries)
        self._helpful = safe if own else ()
        self._instant = tuple(i for i in own if isinstance(chain.tiers[i], StreamTier))
        self._async_only = self._loop_only = loop_only
        self._hear_by = math.inf
        self._stuck_at: int | None = None
        self._watchdog = watchdog
        self._draining = draining
        self._threaded = threaded
        self._bell = Bell()
        self._startable: list[bool] = []
        self._ended: deque[Callable[[], object]] = deque()
        self._closed = False
        self._helped = False
        self._holding = False
        self.async_closed = False
        """Whether the async tiers were closed; set on the loop."""
        self._enter(Mode.NEW)

    # -- ringing

    def start(self) -> None:
        """Start the writer's thread; where none can be started, drain on this one."""
        if not self._threaded:
            self.queue.idle = False
            return
        claimed = started = None
        try:
            # Loops over C functions: a handler that raises finds each done, and
            # known to be done, or not begun.
            for claimed in map(list.pop, (self._startable,)):
                break
            self._enter(Mode.THREAD)
            self.queue.idle = False
            for started in map(start_new_thread, (self._main,), ((False,),)):
                break
        except IndexError:
            # Two records found the writer idle at once; the other one starts it.
            return
        except RuntimeError:
            """No thread to be had."""
        finally:
            if claimed and not started:
                self._enter(Mode.NEW)
        if not started:
            if self.closing:
                self.seize()
            else:
                self._drain_here(self._safe, math.inf)

    def _ring_thread(self) -> None:
        self.queue.idle = False
        try:
            if self.loop is not None:
                # Seen here, where a record finds the writer asleep, and not once per record.
                running_loop()
            self._bell.ring()
        except BaseException:
            # Out of a signal handler. If the bell has not been rung, the next record must.
            self.queue.idle = True
            raise

    def _ring_direct(self) -> None:
        self.help(final=True, seconds=_DIRECT if running_loop() is None else 0.0)

    # -- what the engine's loop asks

    def ring_with(self, ring: Callable[[], object]) -> None:
        """Enter the mode LOOP; *ring* wakes the task on the loop."""
        self.mode = Mode.LOOP
        self.queue.ring = ring

    def rung(self) -> None:
        """Note that the task was rung: a loop that does not hear it hangs."""
        if self._hear_by == math.inf:
            # The first ring counts; further ones must not put the deadline off.
            self._hear_by = monotonic() + self.chain.plan.tiers[0].seconds
        self._watchdog.watch(self)

    def heard(self) -> None:
        """Note that the loop is alive; called on it."""
        self._hear_by = math.inf
        self._watchdog.watch(self)

    def return_to_thread(self) -> None:
        """Leave the loop, which has ended or failed."""
        self._enter(Mode.NEW)
        if self.queue.entries or self.closing:
            self.queue.ring()

    def loop_ended(self, loop: EngineLoop) -> None:
        """Go on without *loop*, if it was still serving this."""
        if self.mode is Mode.LOOP and self.loop is loop:
            self.rescue(LOOP_ENDED)

    def _loop_is_back(self, loop: EngineLoop) -> None:
        """On a loop that hung and does no longer: have it serve this again."""
        if self._closed:
            return
        self.loop = loop
        self._loop_only = self._async_only
        if self.mode is not Mode.LOOP:
            self.queue.ring()

    def _enter(self, mode: Mode) -> None:
        self.mode = mode
        self.queue.ring = {
            Mode.NEW: self.start,
            Mode.THREAD: self._ring_thread,
            Mode.DIRECT: self._ring_direct,
            Mode.LOOP: self._ring_thread,
        }[mode]
        if mode is Mode.NEW:
            self._startable = [True]
        if mode in {Mode.NEW, Mode.DIRECT}:
            self.queue.idle = True

    # -- helping

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
        until = math.inf if final else monotonic() + seconds
        # At the end, where no tier is left that a caller may run, what is queued would
        # stay for ever: it is dropped, and counted.
        while queue.entries and (tiers or final) and ident not in self._draining:
            before = len(queue.entries)
            held = False
            try:
                # In here, since a handler may raise as soon as the ticket is ours.
                held = ticket.acquire(0)
                if not held:
                    return False
                self._draining.add(ident)
                self._helped = True
                with _within(self.chain, tiers, seconds):
                    held = self._drain(
                        tiers, patient=False, replay=False, final=final, until=until, lent=True
                    )
                if final and held:
                    self.writer.abandon_rest()
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
            if not held or len(queue.entries) >= before or monotonic() >= until:
                break
        return not queue.entries

    def pump(self) -> bool:
        """
        Run jobs on the calling thread until there are none; never wait for a tier to heal.

        For a run that was built without threads: nobody else serves its writer.
        Unlike `help` it uses every sync tier, and replays.

        Returns:
            False when somebody else drains, or the ticket was stolen meanwhile.
        """
        ticket, ident = self.chain.ticket, get_ident()
        if ident in self._draining or not ticket.acquire(0):
            return False
        self._draining.add(ident)
        self._helped = held = True
        try:
            held = self._drain(self.chain.sync_tiers, patient=False)
        finally:
            self._draining.discard(ident)
            if held:
                self._tidy()
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
            # A tier cannot be blamed for it. One that was on probation cannot
            # stay so either, or nobody would ever try it again.
            if chain.plan.tiers[delivery.trying].breaker.state is State.PROBING:
                delivery.feed(Unknown(INTERRUPTED), chain.clock.monotonic())
            delivery.trying = None
        writer.finish(job)

    # -- the thread

    def _main(self, resume: bool) -> None:
        ident = get_ident()
        self._draining.add(ident)
        try:
            while True:
                try:
                    if self._serve(resume=resume):
                        return
                except BaseException:
                    # A bug of ours, or an exception that a debugger or ctypes threw
                    # into this thread. The destination outlives it; doctor shows it.
                    self.crashes += 1
                    self._recover()
                    # A bug that strikes every time must not take a whole processor.
                    self._bell.wait(_CRASHED)
                resume = False
        finally:
            self._draining.discard(ident)

    def _recover(self) -> None:
        """Put the job that a crash left behind back to the front, and free the ticket."""
        if not self._holding:
            return
        self._tidy()
        self._holding = False
        self.chain.ticket.release()

    def _serve(self, *, resume: bool) -> bool:
        """Serve until there is a reason to leave; return True when the thread shall end."""
        queue, writer, ticket = self.queue, self.writer, self.chain.ticket
        if resume:
            self._holding = True
            if not self._finish_job(None):
                return True
            self._holding = False
            ticket.release()
        elif self.predecessor is not None:
            self._await_predecessor()
        while True:
            if self._loop_only and self._await_loop():
                return True
            if self.declare_idle():
                if self._leave():
                    return True
                self._bell.wait(writer.wait())
                if self._closed:
                    return True
                queue.idle = False
                if len(queue.entries) < queue.low_water and not self.closing:
                    self._bell.wait(LINGER)
            queue.idle = False
            self._watchdog.watch(self)
            ticket.acquire()
            if self._closed:
                self.bow_out()
                return True
            self._holding = True
            if not self._drain(self.chain.sync_tiers, patient=True):
                return True
            self._holding = False
            ticket.release()

    def declare_idle(self) -> bool:
        """Say that the writer is idle, unless there is something to do after all."""
        self.queue.idle = True
        if self.writer.idle:
            return True
        self.queue.idle = False
        return False

    def bow_out(self) -> None:
        """With the ticket in hand: leave it to whoever took over while this one was waiting."""
        self.chain.ticket.release()
        # Whoever took over may have declared itself idle before this one woke up,
        # and a producer rings only for an idle writer.
        self.queue.idle = True
        if self.queue.entries:
            self.queue.ring()

    def _leave(self) -> bool:
        """With nothing left to do: end, if somebody asked for it."""
        if self.closing:
            self.chain.ticket.acquire()
            if self._closed:
                self.bow_out()
            else:
                self._close_now(self.chain.sync_tiers)
            return True
        if self.leaving:
            self.leaving = False
            self._enter(Mode.NEW)
            self._tell_ended()
            if self.queue.entries:
                self.queue.ring()
            return True
        if self.loop is not None and self.loop.wants(self):
            self.loop.take_over(self)
            return True
        return False

    def _await_loop(self) -> bool:
        """Wait for the loop that alone can serve the sink; return True when it has taken over."""
        loop = self.loop
        while loop is not None and loop.failure is None:
            if self._closed:
                return True
            if loop.wants(self):
                loop.take_over(self)
                return True
            self._bell.wait(_LOOP_START)
        self._loop_only = False
        return False

    def _await_predecessor(self) -> None:
        # Records of one thread reach a destination in call order also across a
        # change of configuration, so its former writer gets some time to finish.
        former, self.predecessor = self.predecessor, None
        if former is not None:
            former.wait_closed(former.chain.plan.tiers[0].seconds)

    def _drain(
        self,
        tiers: tuple[int, ...],
        *,
        patient: bool,
        replay: bool = True,
        final: bool = False,
        until: float = math.inf,
        lent: bool = False,
    ) -> bool:
        """
        Run jobs until there are none; return False when the ticket was stolen meanwhile.

        None is begun after *until*, but the first.
        """
        writer, chain = self.writer, self.chain
        while (job := writer.next_job(tiers, patient=patient, replay=replay)) is not None:
            if not chain.run(job.delivery, job.batch, self._pause, lent=lent):
                return False
            if not writer.finish(job, final=final) or monotonic() >= until:
                break
        return True

    def _finish_job(self, tiers: tuple[int, ...] | None, *, final: bool = False) -> bool:
        """Go on with the job of a holder whose ticket was stolen; None: as it was begun."""
        job = self.writer.job
        if job is None:
            return True
        if job.kind is not JobKind.REPLAY:
            job.delivery.restrict(tiers or self.chain.sync_tiers, patient=tiers is None)
        if not self.chain.run(job.delivery, job.batch, self._pause):
            return False
        self.writer.finish(job, final=final)
        return True

    def _pause(self, seconds: float) -> object:
        return self._bell.wait(seconds)

    # -- what dead processes left

    def adopt(self) -> None:
        """Take over the held files of dead processes."""
        store = self.writer.store
        if store is not None:
            with self._ticket():
                self.writer.adopted += store.adopt()
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

    @contextmanager
    def _ticket(self) -> Iterator[None]:
        self.chain.ticket.acquire()
        try:
            yield
        finally:
            self.chain.ticket.release()

    # -- watchdog

    @property
    def overdue(self) -> bool:
        """Whether a call of the writer has outlived its deadline, or its loop hangs."""
        now = monotonic()
        section = self.chain.ticket.section
        return now > self._hear_by or (section is not None and now > section.deadline)

    @property
    def busy(self) -> bool:
        """Whether there is anything for a watchdog to look at."""
        return not self.queue.idle or self.chain.ticket.held or self._hear_by != math.inf

    def rescue(self, reason: str = STALLED) -> None:
        """Steal the ticket from a holder whose deadline has passed, and go on without it."""
        loop = self.loop
        if self.mode is Mode.LOOP and loop is not None:
            # It is the loop that hangs. Threads serve this destination until it is back.
            self.loop, self._hear_by = None, math.inf
            loop.call(lambda: self._loop_is_back(loop))
            if not self.chain.ticket.held:
                self.return_to_thread()
        if not self.chain.expire(reason):
            return
        # The watchdog itself must not get into the next tier: it may hang as well.
        if not self._helped:
            self._enter(Mode.THREAD)
            self.queue.idle = False
            if self._start_thread(self._main, True):
                return
            self._enter(Mode.NEW)
        elif self._start_thread(self._finish_for_helper):
            return
        self._finish_for_helper()

    def _start_thread(self, work: Callable[..., object], *args: object) -> bool:
        if not self._threaded:
            return False
        try:
            start_new_thread(work, args)
        except RuntimeError:
            return False
        return True

    def _finish_for_helper(self) -> None:
        """Finish the job of a caller that hung in a helping hand, and ring for the rest."""
        ident = get_ident()
        self._draining.add(ident)
        self._helped = False
        try:
            if self._finish_job(self._safe):
                self.chain.ticket.release()
                self.queue.ring()
        finally:
            self._draining.discard(ident)

    # -- the end

    def prepare(self) -> None:
        """Start what must not wait for the first record: the loop of an async sink."""
        if self._loop_only:
            self.queue.ring()

    def let_go(self) -> None:
        """
        Close descriptors after the close; a later record opens them again.

        A holder or a sink that does not let go in time is left behind.
        """
        chain = self.chain
        for index, tier in enumerate(chain.tiers):
            # A sink that is still busy with an abandoned call is not touched.
            foreign = index not in self._safe and not chain.plan.tiers[index].busy
            if foreign and isinstance(tier, SyncTier):
                self._close_foreign(tier, chain.meters[index])
        self.close_own()

    def close_own(self) -> None:
        """Close the descriptors of our own tiers, and drain what comes in meanwhile."""
        chain = self.chain
        if not chain.ticket.acquire(_LET_GO):
            return
        try:
            for index in self._safe:
                tier = chain.tiers[index]
                if isinstance(tier, SyncTier):
                    try:
                        tier.close()
                    except Exception as error:
                        chain.meters[index].fail(error)
        finally:
            chain.ticket.release()
        self.help(final=True)

    def _close_foreign(self, tier: SyncTier, meter: Meter) -> None:
        done = allocate_lock()
        done.acquire()

        def close() -> None:
            try:
                tier.close()
            except BaseException as error:
                # As for its write: whatever a sink raises is its own affair.
                meter.fail(error)
            finally:
                done.release()

        if not self._start_thread(close):
            close()
        done.acquire(True, _LET_GO)

    def abandon(self) -> None:
        """In a forked child: close inherited descriptors of our own tiers, and nothing else."""
        for tier in self.chain.tiers:
            if isinstance(tier, FileTier | AsyncFileTier | StreamTier | HeldStore):
                tier.abandon()

    def park(self) -> bool:
        """Ask the thread to end when it is idle, for a fork; return whether there is one."""
        if self.mode is not Mode.THREAD or not self.queue.idle:
            return False
        self.leaving = True
        self._ring_thread()
        return True

    def wait_parked(self, seconds: float) -> bool:
        """Wait up to *seconds* until the thread has ended; a busy one is left alone."""
        if wait(self.notify_closed, seconds):
            return True
        self.leaving = False
        return False

    def begin_close(self) -> None:
        """Ask for the end: drain, write the close record, hand over to the callers."""
        self.closing = True
        if self.mode is Mode.NEW and self.writer.idle and not self._needs_close_record():
            self.seize()
        elif not self._closed:
            self.queue.ring()

    @property
    def closed(self) -> bool:
        """Whether the writer has closed; its callers drain it now."""
        return self._closed

    def wait_closed(self, seconds: float) -> bool:
        """Wait up to *seconds* until the writer has closed."""
        return self._closed or wait(self.notify_closed, seconds)

    def seize(self) -> None:
        """
        End it now, on this thread: what is left goes to the safe tiers, or is dropped.

        Needs no thread, import or loop, so the interpreter may be ending. A holder
        that neither ends nor blocks is this very thread, interrupted by a signal
        whose handler closes; there the attempt is given up.
        """
        if self._closed:
            return
        give_up = monotonic() + _SEIZE
        while True:
            while not self.chain.ticket.acquire(0.01):
                if self.chain.expire(AT_EXIT):
                    break
                if monotonic() > give_up:
                    return
            if self._closed:
                self.chain.ticket.release()
                return
            if self._finish_job(self._safe, final=True) and self._close_now(self._safe):
                return
            # The watchdog took the ticket, because a tier hangs. What is left is tried
            # again without that one, as soon as the thief has done with the job.

    def _needs_close_record(self) -> bool:
        return any(stream.issued for stream in self.writer.streams)

    def _close_now(self, tiers: tuple[int, ...]) -> bool:
        """
        With the ticket in hand: drain, write the close record, leave the rest to the callers.

        Returns:
            False when the ticket was stolen meanwhile: touch nothing.
        """
        if not self._drain(tiers, patient=False, replay=False, final=True):
            return False
        if self.prepare_close() and not self._drain(tiers, patient=False, replay=False, final=True):
            return False
        self.close_with_ticket()
        return True

    def prepare_close(self) -> bool:
        """Drop what cannot be saved; return whether there is a close record to drain now."""
        self.writer.abandon_rest()
        if not self._needs_close_record():
            return False
        self.writer.close_record()
        return True

    def close_with_ticket(self) -> None:
        """Give the ticket back for good: from now on whoever logs also drains."""
        self._closed = True
        self._enter(Mode.DIRECT)
        self._bell.ring()
        self.chain.ticket.release()
        # A line that was queued before the mode changed rang for nobody.
        self.help(final=True)
        self._tell_ended()
        self.on_closed()

    def notify_closed(self, wake: Callable[[], object]) -> None:
        """Have *wake* called when the thread has ended or the writer has closed."""
        self._ended.append(wake)
        if self._closed or self.mode is Mode.NEW:
            self._tell_ended()

    def _tell_ended(self) -> None:
        while self._ended:
            self._ended.popleft()()


@contextmanager
def _within(chain: Chain, tiers: tuple[int, ...], seconds: float) -> Iterator[None]:
    """Have the consoles among *tiers* wait for room up to *seconds*; 0: not at all."""
    streams = [tier for i in tiers if isinstance(tier := chain.tiers[i], StreamTier)]
    timeouts = [tier.timeout for tier in streams]
    for tier in streams:
        tier.timeout = min(tier.timeout, seconds)
    try:
        yield
    finally:
        for tier, timeout in zip(streams, timeouts, strict=True):
            tier.timeout = timeout
