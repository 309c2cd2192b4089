"""
The end of a writer: what is left is drained, the close record written, files let go of.

Rule 1: the end may be made by the writer's own thread, by a task on the engine's
loop, or, when neither gets there in time, by the thread that closes.
Rule 2: nothing here needs a new thread, an import or a loop, since the interpreter
may be ending. Where a thread is to be had, a sink's own close runs on it.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from fallbacks.held import HeldStore
from fallbacks.tier import SyncTier
from fallbacks.tiers import AsyncFileTier, FileTier, StreamTier

from ..queue import Barrier
from ._hands import Hands
from ._waiting import wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from fallbacks.meter import Meter

    from ._writer import Writer

# Seconds for which the end of a destination is tried against a holder that does not let go.
_SEIZE: Final = 1.0

# How often what is queued by then is drained before the end. Once for what was there
# when the close began; once more for what was logged meanwhile, by a sink for one.
_ROUNDS: Final = 2

# Seconds in which a former writer has to get from one call to another to be waited for.
_STUCK: Final = 1.0

# Seconds that a sink gets to close; one that takes longer is left to do so alone.
_LET_GO: Final = 0.5

# Seconds for which whoever closes goes on with what is logged meanwhile.
AFTER: Final = 0.1

AT_EXIT: Final = "interrupted by the end of the process"


class Closing(Hands):
    """
    A writer that can be brought to its end; `Service` adds who runs it until then.

    Args:
        writer: See `Hands`.
        safe: See `Hands`.
        draining: See `Hands`.
        threaded: Whether threads may be started.
    """

    def __init__(
        self, writer: Writer, *, safe: tuple[int, ...], draining: set[int], threaded: bool
    ) -> None:
        super().__init__(writer, safe=safe, draining=draining)
        self.closing = False
        self._rounds = _ROUNDS
        self.on_closed: Callable[[], object] = lambda: None
        self._threaded = threaded
        self._ended: deque[Callable[[], object]] = deque()

    @property
    def unserved(self) -> bool:
        """Whether nobody runs the writer, so that nobody would hear the bell."""
        raise NotImplementedError

    def _go_direct(self) -> None:
        """Have callers drain what they log, from now on."""
        raise NotImplementedError

    def begin_close(self) -> None:
        """Ask for the end: drain, write the close record, hand over to the callers."""
        self.closing = True
        if self.writer.spiller is not None:
            self.writer.spiller.leave()
        if self._closed:
            return
        if self.unserved and self.writer.idle and not self._needs_close_record():
            self.due = True
            self.seize()
            return
        # Where others log on without a pause the queue is never empty. What they add
        # from now on they write themselves, after the close.
        self.queue.entries.append(Barrier(self._note_due))
        self.queue.ring()

    def _note_due(self) -> None:
        if self._closed or self.retired:
            # Of a retired run the callers are gone: what is in the queue is all there is.
            return
        self._rounds -= 1
        # Parked lines were logged before, too, and are let in as there is room for them.
        if self.queue.parked or self._rounds > 0:
            self.queue.entries.append(Barrier(self._note_due))
        else:
            self.due = True

    @property
    def closed(self) -> bool:
        """Whether the writer has closed; its callers drain it now."""
        return self._closed

    def wait_closed(self, seconds: float) -> bool:
        """Wait up to *seconds* until the writer has closed."""
        return self._closed or wait(self.notify_closed, seconds)

    def wait_finished(self) -> None:
        """
        Wait until the writer has closed, for the time of one attempt at most.

        Do not wait for one that hangs in a call: order is not promised near an
        unknown outcome.
        """
        ticket = self.chain.ticket
        section = ticket.section
        until = monotonic() + self.chain.plan.tiers[0].seconds
        while not self.wait_closed(min(_STUCK, max(0.0, until - monotonic()))):
            before, section = section, ticket.section
            if monotonic() >= until or (section is not None and section is before):
                return

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
        spiller = self.writer.spiller
        if spiller is not None:
            # What the held store does not take is drained with the rest.
            wait(lambda wake: spiller.follow(Barrier(wake)), _LET_GO)
        if not self._drain(tiers, patient=False, replay=False, final=True):
            return False
        if self.prepare_close() and not self._drain(tiers, patient=False, replay=False, final=True):
            return False
        self.close_with_ticket()
        return True

    def prepare_close(self) -> bool:
        """Return whether there is a close record to drain now."""
        if not self._needs_close_record():
            return False
        self.writer.close_record()
        return True

    def close_with_ticket(self) -> None:
        """Give the ticket back for good: from now on whoever logs also drains."""
        self._closed = True
        self.due = False
        self._go_direct()
        self._bell.ring()
        self.chain.ticket.release()
        # A line that was queued before the mode changed rang for nobody.
        self.help(final=True, seconds=AFTER)
        self._tell_ended()
        self.on_closed()

    def notify_closed(self, wake: Callable[[], object]) -> None:
        """Have *wake* called when the thread has ended or the writer has closed."""
        self._ended.append(wake)
        if self._closed or self.unserved:
            self._tell_ended()

    def _tell_ended(self) -> None:
        while self._ended:
            self._ended.popleft()()

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
        ticket = self.chain.ticket
        if not ticket.acquire(_LET_GO):
            return
        try:
            self._close_tiers()
        finally:
            ticket.release()
        self.help(final=True, seconds=AFTER)

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

    def _start_thread(self, work: Callable[..., object], *args: object) -> bool:
        if not self._threaded:
            return False
        try:
            start_new_thread(work, args)
        except RuntimeError:
            return False
        return True
