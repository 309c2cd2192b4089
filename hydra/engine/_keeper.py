"""
The keeper: everything about the journal that a logging call does not wait for.

It forces records to the disk in groups, keeps a spare segment ready, removes
segments that nobody needs, and tells the writers' side of the story to the
journal. One thread, started by the first record of level ERROR or above.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from collections import deque
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

from fallbacks.journal import JournalFull

from ..queue import State
from ._bell import Bell, Once
from ._waiting import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fallbacks.journal import Journal, Segment
    from fallbacks.position import Position

    from ..queue import Entry

# Two appends in a row that take longer than this are a page cache that does not keep
# up; one may be a busy machine that gave this thread no time ...
_STALL: Final = 0.25
# ... and for so many seconds calls on an event loop stay away from it.
_STALL_REST: Final = 5.0
# Seconds that close waits for a call of the keeper's that is under way.
_STALL_AT_CLOSE: Final = 1.0


class Keeper:
    """
    Append to, acknowledge in and look after one journal.

    Args:
        journal: The journal; None when there is none, and everything here does nothing.
        interval: Seconds after which an ERROR is on the disk at the latest.
        settle: Forces what was delivered to the disk; returns whether it is there.
            Asked before a segment is removed: till then the journal vouches for it.
        threaded: False for tests that call `tend` themselves.
    """

    def __init__(
        self,
        journal: Journal | None,
        *,
        interval: float,
        settle: Callable[[], bool] = lambda: True,
        threaded: bool = True,
    ) -> None:
        self.journal = journal
        self._interval = interval
        self._settle = settle
        self._threaded = threaded
        self._entering: dict[bytes, None] = {}
        self._requests: deque[Entry] = deque()
        self._failed = count()
        self._degraded = count()
        self._bad_notes = count()
        self._owed: dict[str, list[bytes]] = {}
        self._stalled_until = 0.0
        self._slow = False
        self._dirty = False
        self._asleep = True
        self._leaving = False
        self.closed = False
        """Whether nothing is taken in or given back any more."""
        self.on_left: Callable[[], object] = lambda: None
        """Told after the end when records were left here for somebody to take over."""
        self.ended = False
        """Whether the files have been let go of."""
        self._bell = Bell()
        self._thread = Once(self._main)
        self._tending = allocate_lock()

    # -- the call path

    def append(self, entry: Entry) -> None:
        """
        Bring *entry* into the kernel. Failures are counted, and `entry.segment` stays None.

        While the page cache stalls, calls on an event loop are spared: their
        records are queued only, which is counted as well.
        """
        journal = self.journal
        if journal is None:
            return
        # First this, then a look at `closed`: who closes looks the other way round.
        self._entering[entry.key] = None
        try:
            if not self.closed:
                self._append(journal, entry)
        finally:
            self._entering.pop(entry.key, None)
            self._end_if_last()

    def _append(self, journal: Journal, entry: Entry) -> None:
        began = monotonic()
        if began < self._stalled_until and running_loop() is not None:
            next(self._degraded)
            return
        try:
            entry.segment = journal.append(entry.key, entry.tag, entry.line, entry)
        except (JournalFull, OSError):
            next(self._failed)
            return
        ended = monotonic()
        slow = ended - began > _STALL
        if slow and self._slow:
            self._stalled_until = ended + _STALL_REST
        self._slow = slow
        self._dirty = True
        if self._asleep:
            self._wake()

    def force(self, entry: Entry) -> None:
        """Ask for *entry* to be forced to the disk now; `entry.durable` tells when it is."""
        self._requests.append(entry)
        self._wake()

    # -- what writers tell (see `Ledgerkeeper`)

    def acknowledge(
        self, destination: str, position: Position | None, entries: Sequence[Entry]
    ) -> None:
        """Note that *entries* are safe at *destination*, whose file ends at *position*."""
        if self.journal is None:
            return
        # A later note says with its position that nothing before it is missing, so
        # one that failed has to be made up for first.
        keys = self._owed.pop(destination, [])
        keys += [entry.key for entry in entries if entry.segment is not None]
        try:
            self.journal.acknowledge(destination, position, keys)
        except (JournalFull, OSError):
            # Should none follow, the next start replays these, and finds them in the file.
            next(self._bad_notes)
            self._owed[destination] = keys

    def settled(self, entry: Entry) -> None:
        """Forget *entry*, which every destination has settled, unless one left it in here."""
        if self.journal is None or entry.segment is None:
            return
        if all(fate.state is not State.JOURNAL for fate in entry.fates.copy().values()):
            segment: Segment = entry.segment  # type: ignore[assignment]
            self.journal.settle(segment, entry.key)
        self._end_if_last()

    def fetch(self, entries: Sequence[Entry]) -> None:
        """Put the lines back into *entries* whose lines only the journal has."""
        if self.journal is None:
            return
        wanted: dict[Segment, dict[bytes, Entry]] = {}
        for entry in entries:
            if not entry.line and entry.segment is not None:
                segment: Segment = entry.segment  # type: ignore[assignment]
                wanted.setdefault(segment, {})[entry.key] = entry
        for segment, missing in wanted.items():
            try:
                lines = self.journal.fetch(segment, missing)
            except OSError:
                next(self._failed)
                continue
            for key, line in lines.items():
                missing[key].line = line

    # -- the thread

    def tend(self) -> None:
        """Do everything that is due, once."""
        journal = self.journal
        if journal is None:
            return
        with self._tending:
            if self.closed:
                return
            asked = [self._requests.popleft() for _ in range(len(self._requests))]
            self._dirty = False
            durable = journal.sync()
            for entry in asked:
                entry.durable = durable
                entry.wake()
            if journal.removable and self._settle():
                journal.housekeep()
            journal.make_spare()

    def leave(self) -> None:
        """Let the thread end, before a fork or at close; the next record starts another one."""
        self._leaving = True
        self._bell.ring()

    def wait_ended(self, seconds: float) -> bool:
        """Wait up to *seconds* until the thread has ended; one that hangs is left behind."""
        return self._thread.wait_ended(seconds)

    def close(self) -> None:
        """
        Close the journal for good: what is logged later is written directly.

        Its files are removed, unless a record was left to them. While a call is
        under way whose record is in them they stay locked, for whoever took them
        over would deliver it a second time; the last such call lets go of them.
        """
        self.closed = True
        self.leave()
        if not self._under_way():
            self._end()

    def _under_way(self) -> bool:
        """Return whether a record is in the journal whose call has not come to its end."""
        if self.journal is None:
            return False
        if self._entering:
            return True
        live: list[Entry] = self.journal.live()  # type: ignore[assignment]
        return not all(entry.settled for entry in live)

    def _end_if_last(self) -> None:
        """After the close: let go of the files, if the call at hand was the last to need them."""
        if self.closed and not self.ended and not self._under_way():
            # It may wait for the disk, which the call must not, if there is a thread to be had.
            try:
                start_new_thread(self._end, ())
            except RuntimeError:
                self._end()

    def _end(self) -> None:
        journal = self.journal
        if journal is None:
            return
        # The journal is looked after by one thread at a time. One that hangs in
        # fdatasync is not waited for: the end of the process must not hang too.
        alone = self._tending.acquire(True, _STALL_AT_CLOSE)
        try:
            if self.ended:
                return
            found = journal.statistics()
            clean = found.live == 0 and (found.segments == 0 or self._settle())
            journal.close(clean=clean)
            self.ended = True
        finally:
            if alone:
                self._tending.release()
        if found.live:
            self.on_left()

    @property
    def running(self) -> bool:
        """Whether its thread exists."""
        return self._thread.running

    @property
    def failed(self) -> int:
        """Records that the journal could not take."""
        return int(repr(self._failed)[6:-1])

    @property
    def degraded(self) -> int:
        """Records on an event loop that were spared the journal while it stalled."""
        return int(repr(self._degraded)[6:-1])

    def _wake(self) -> None:
        if self._threaded and not self.closed:
            self._asleep = self._leaving = False
            try:
                self._bell.ring()
                # Without a thread the records are in the kernel all the same; fdatasync must wait.
                self._thread.start()
            except BaseException:
                # Out of a signal handler; the next record has to wake it.
                self._asleep = True
                raise

    def _main(self) -> None:
        try:
            while not self._leaving:
                if not self._requests:
                    self._asleep = not self._dirty
                    self._bell.wait(self._interval if self._dirty else None)
                    self._asleep = False
                if not self.closed and (self._requests or self._dirty):
                    self._tend_or_wait()
        finally:
            self._asleep = True

    def _tend_or_wait(self) -> None:
        """Do what is due; where there is no memory for it, leave it for the next interval."""
        try:
            self.tend()
        except MemoryError:
            next(self._failed)
            self._dirty = True
            self._bell.wait(self._interval)
