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
from _thread import get_ident, start_new_thread
from collections import deque
from contextlib import contextmanager, nullcontext
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Final

from fallbacks.held import HeldStore
from fallbacks.tier import SyncTier
from fallbacks.tiers import AsyncFileTier, FileTier, StreamTier

from ._bell import Bell
from ._jobs import JobKind
from ._waiting import running_loop, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fallbacks.chain import Chain

    from ._loop import EngineLoop
    from ._watchdog import Watchdog
    from ._writer import Writer

# Seconds that a woken writer waits for company: the price of a record's latency
# for not waking up once per record.
LINGER: Final = 0.005

# Seconds between two looks at a loop that is being started; it rings when it is ready.
_LOOP_START: Final = 1.0

STALLED: Final = "no answer within its deadline"
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
        self._instant = tuple(i for i in safe if isinstance(chain.tiers[i], StreamTier))
        self._loop_only = loop_only
        self._hear_by = math.inf
        self._watchdog = watchdog
        self._draining = draining
        self._threaded = threaded
        self._bell = Bell()
        self._startable: list[bool] = []
        self._ended: deque[Callable[[], object]] = deque()
        self._closed = False
        self._helped = False
        self._holding = False
        self._enter(Mode.NEW)

    # -- ringing

    def start(self) -> None:
        """Start the writer's thread; where none can be started, drain on this one."""
        self.queue.idle = False
        if not self._threaded:
            return
        try:
            self._startable.pop()
        except IndexError:
            # Two records found the writer idle at once; the other one starts it.
            return
        self._enter(Mode.THREAD)
        try:
            start_new_thread(self._main, (False,))
        except RuntimeError:
            self._enter(Mode.NEW)
            if self.closing:
                self.seize()
            else:
                self.help()

    def _ring_thread(self) -> None:
        self.queue.idle = False
        if self.loop is not None:
            # Seen here, where a record finds the writer asleep, and not once per record.
            running_loop()
        self._bell.ring()

    def _ring_direct(self) -> None:
        self.help(final=True)

    # -- what the engine's loop asks

    def ring_with(self, ring: Callable[[], object]) -> None:
        """Enter the mode LOOP; *ring* wakes the task on the loop."""
        self.mode = Mode.LOOP
        self.queue.ring = ring

    def rung(self) -> None:
        """Note that the task was rung: a loop that does not hear it hangs."""
        self._hear_by = monotonic() + self.chain.plan.tiers[0].seconds
        self._watchdog.watch(self)

    def heard(self) -> None:
        """Note that the task is awake."""
        self._hear_by = math.inf
        self._watchdog.watch(self)

    def return_to_thread(self) -> None:
        """Leave the loop, which has ended or failed."""
        self._enter(Mode.NEW)
        if self.queue.entries or self.closing:
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

    def help(self, *, final: bool = False, wait: bool = True) -> bool:
        """
        Drain on the calling thread, if nobody else is draining.

        Args:
            final: Whether what no tier takes is dropped instead of kept.
            wait: Whether tiers may wait for room; on an event loop they may not,
                and only consoles are tried.

        Returns:
            Whether the queue was found empty in the end. False also when this
            call interrupted a drain (a signal handler): that one will find the
            new line when it goes on.
        """
        ticket, queue = self.chain.ticket, self.queue
        tiers = self._safe if wait else self._instant
        ident = get_ident()
        while queue.entries and tiers and ident not in self._draining:
            if not ticket.acquire(0):
                return False
            before = len(queue.entries)
            self._draining.add(ident)
            self._helped = True
            held = True
            try:
                with _at_once(self.chain, tiers) if not wait else nullcontext():
                    held = self._drain(tiers, patient=False, replay=False, final=final)
                if final and held:
                    self.writer.abandon_rest()
            finally:
                self._draining.discard(ident)
                if held:
                    self._helped = False
                    ticket.release()
            if not held or len(queue.entries) >= before:
                break
        return not queue.entries

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
                resume = False
        finally:
            self._draining.discard(ident)

    def _recover(self) -> None:
        """Put the job that a crash left behind back to the front, and free the ticket."""
        if not self._holding:
            return
        job = self.writer.job
        if job is not None:
            self.writer.finish(job)
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
                queue.idle = False
                if len(queue.entries) < queue.low_water and not self.closing:
                    self._bell.wait(LINGER)
            queue.idle = False
            self._watchdog.watch(self)
            ticket.acquire()
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

    def _leave(self) -> bool:
        """With nothing left to do: end, if somebody asked for it."""
        if self.closing:
            self.chain.ticket.acquire()
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
        self, tiers: tuple[int, ...], *, patient: bool, replay: bool = True, final: bool = False
    ) -> bool:
        """Run jobs until there are none; return False when the ticket was stolen meanwhile."""
        writer, chain = self.writer, self.chain
        while (job := writer.next_job(tiers, patient=patient, replay=replay)) is not None:
            if not chain.run(job.delivery, job.batch, self._pause):
                return False
            if not writer.finish(job, final=final):
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

    def take_over(self, run: str, lines: list[bytes], scan: dict[str, int] | None) -> None:
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
        return not self.queue.idle or self.chain.ticket.held

    def rescue(self) -> None:
        """Steal the ticket from a holder whose deadline has passed, and go on without it."""
        if self.mode is Mode.LOOP:
            # It is the loop that hangs. Threads serve this destination from now on.
            self.loop, self._hear_by = None, math.inf
            if not self.chain.ticket.held:
                self.return_to_thread()
        if not self.chain.expire(STALLED):
            return
        if not self._helped:
            self._enter(Mode.THREAD)
            self.queue.idle = False
            try:
                start_new_thread(self._main, (True,))
            except RuntimeError:
                self._enter(Mode.NEW)
            else:
                return
        # It was a caller that hung in a helping hand, or there are no threads to be had.
        self._helped = False
        if self._finish_job(self._safe):
            self.chain.ticket.release()
            self.queue.ring()

    # -- the end

    def prepare(self) -> None:
        """Start what must not wait for the first record: the loop of an async sink."""
        if self._loop_only:
            self.queue.ring()

    def let_go(self) -> None:
        """Close descriptors after the close; a later record opens them again."""
        with self._ticket():
            for tier, meter in zip(self.chain.tiers, self.chain.meters, strict=True):
                if isinstance(tier, SyncTier):
                    try:
                        tier.close()
                    except Exception as error:
                        meter.fail(error)
        self.help(final=True)

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

        Needs no thread, import or loop, so the interpreter may be ending.
        """
        if self._closed:
            return
        while not self.chain.ticket.acquire(0.01):
            if self.chain.expire(AT_EXIT):
                break
        if self._closed:
            self.chain.ticket.release()
            return
        self._finish_job(self._safe, final=True)
        self._close_now(self._safe)

    def _needs_close_record(self) -> bool:
        return any(stream.issued for stream in self.writer.streams)

    def _close_now(self, tiers: tuple[int, ...]) -> None:
        """With the ticket in hand: drain, write the close record, leave the rest to the callers."""
        self._drain(tiers, patient=False, replay=False, final=True)
        if self.prepare_close():
            self._drain(tiers, patient=False, replay=False, final=True)
        self.close_with_ticket()

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
def _at_once(chain: Chain, tiers: tuple[int, ...]) -> Iterator[None]:
    """Have the consoles among *tiers* take what there is room for, and not wait."""
    streams = [tier for i in tiers if isinstance(tier := chain.tiers[i], StreamTier)]
    timeouts = [tier.timeout for tier in streams]
    for tier in streams:
        tier.timeout = 0.0
    try:
        yield
    finally:
        for tier, timeout in zip(streams, timeouts, strict=True):
            tier.timeout = timeout


