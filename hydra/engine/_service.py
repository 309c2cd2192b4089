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
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Final

from fallbacks.handover import claim

from ._closing import Closing
from ._waiting import running_loop, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._loop import EngineLoop
    from ._watchdog import Watchdog
    from ._writer import Writer

# Seconds that a writer waits for company before it takes what little is queued: the price
# of a record's latency for not writing, and taking the interpreter, once per record.
LINGER: Final = 0.005

# Seconds between two looks at a loop that is being started; it rings when it is ready.
_LOOP_START: Final = 1.0

# Seconds for which a call after the close may wait for a console.
_DIRECT: Final = 1.0

# Seconds that a writer rests after an error of its own.
_CRASHED: Final = 0.1

STALLED: Final = "no answer within its deadline"
LOOP_ENDED: Final = "its event loop has ended"


class Mode(Enum):
    """Who runs the writer."""

    NEW = "new"
    """Nobody yet: the next record starts a thread."""
    THREAD = "thread"
    LOOP = "loop"
    DIRECT = "direct"
    """The callers themselves, after `close` and at exit."""


class Service(Closing):
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
        super().__init__(writer, safe=safe, draining=draining, threaded=threaded)
        self.loop = loop
        self.mode = Mode.NEW
        self.crashes = 0
        self.leaving = False
        self.predecessor: Service | None = None
        self._async_only = self._loop_only = loop_only
        self._hear_by = math.inf
        self._watchdog = watchdog
        self._startable: list[bool] = []
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
        if self._closed:
            self.stay_closed()
        elif not started:
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
            # Unless it comes by itself. First: it may come, and waive it, before this goes on.
            claim(LINGER)
            self._bell.ring()
        except BaseException:
            # Out of a signal handler. If the bell has not been rung, the next record must.
            self.queue.idle = True
            raise
        self.stay_closed()

    def _ring_direct(self) -> None:
        self.help(final=True, seconds=_DIRECT if running_loop() is None else 0.0)

    def stay_closed(self) -> None:
        """If it is closed: undo what was begun for a former mode, and ring in the mode of now."""
        # Who closes sets this first, and the mode after it: one of the two sees the other.
        if self._closed:
            self._go_direct()
            self._hear_by = math.inf
            if self.queue.entries:
                self.queue.ring()

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
        if self._closed:
            self.stay_closed()
        elif self.queue.entries or self.closing:
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

    @property
    def unserved(self) -> bool:
        return self.mode is Mode.NEW

    def _go_direct(self) -> None:
        self._enter(Mode.DIRECT)

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
        try:
            self._tidy()
        finally:
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
            # Records of one thread reach a destination in call order also across a
            # change of configuration, so its former writer gets some time to finish.
            former, self.predecessor = self.predecessor, None
            former.wait_finished()
        while True:
            if self._loop_only and self._await_loop():
                return True
            idle = self.declare_idle()
            if (idle or self.due) and self._leave():
                return True
            if idle:
                self._bell.wait(writer.wait())
                if self._closed:
                    return True
            queue.idle = False
            if len(queue.entries) < queue.low_water and not self.closing:
                writer.claim(LINGER)
                self._bell.wait(LINGER)
            self._watchdog.watch(self)
            ticket.acquire()
            if self._closed:
                self.bow_out()
                return True
            self._holding = True
            if not self._drain(self.chain.sync_tiers, patient=True, least=queue.low_water):
                return True
            self._holding = False
            ticket.release()

    def bow_out(self) -> None:
        """With the ticket in hand: leave it to whoever took over while this one was waiting."""
        self.chain.ticket.release()
        # Whoever took over may have declared itself idle before this one woke up,
        # and a producer rings only for an idle writer.
        self.queue.idle = True
        ident = get_ident()
        # It drains no longer, and after a close nobody else would.
        self._draining.discard(ident)
        try:
            if self._closed:
                self.stay_closed()
            elif self.queue.entries:
                self.queue.ring()
        finally:
            self._draining.add(ident)

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
