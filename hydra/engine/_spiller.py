"""
The spiller: writes what found no place in a full queue to the destination's held store.

Rule 1: it has a thread of its own, since the writer may hang in the very sink that
let the queue run full, and a caller must not wait for a disk. The thread is
started by the first line that needs it and ends when there is none left.
Rule 2: a line is in the queue's `spill`, in `_taken`, or in the store. What the
store does not take goes back to the front of `spill`, from where the writer takes
it as soon as there is room.
Rule 3: order near a spill is not kept: what is held follows by replay.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.chain import attempt
from fallbacks.outcomes import taken_of

from ..queue import Barrier, Entry, Fate, State
from ..queue._fifo import Popped
from ._bell import Bell, Once
from ._jobs import sort_items

if TYPE_CHECKING:
    from collections.abc import Callable

    from fallbacks.held import HeldStore

    from ..queue import Fifo, Item

# Seconds before a store that took nothing is asked again: its quota is used up, or its disk full.
_REST: Final = 0.5


class Spiller:
    """
    Serve the spill of one queue.

    Args:
        queue: The queue.
        store: The destination's held store.
        settle: Told of each entry that the store has.
        threaded: False for tests that call `work` themselves.
    """

    def __init__(
        self,
        queue: Fifo,
        store: HeldStore,
        settle: Callable[[Entry, Fate], None],
        *,
        threaded: bool,
    ) -> None:
        self.queue = queue
        self.spilled = 0
        """Records that the store took from here."""
        self._store = store
        self._settle = settle
        self._threaded = threaded
        self._taken: list[Item] = []
        self._leaving = False
        self._bell = Bell()
        self._thread = Once(self._main, more=self._wanted)
        self._waiting: deque[Barrier] = deque()

    def start(self) -> None:
        """See to it that what is in the spill gets written; called after each line."""
        if self._threaded and not self._thread.running:
            # Without a thread the lines wait in the spill, for the writer to take them back.
            self._thread.start()

    @property
    def pending(self) -> int:
        """Records on their way to the store."""
        return sum(1 for item in list(self._taken) if isinstance(item, bytes | Entry))

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return bool(self._taken)

    def leave(self) -> None:
        """Write no more after what is being written: the writer takes the rest."""
        self._leaving = True
        self.queue.spill_places = 0
        self._bell.ring()

    def follow(self, barrier: Barrier) -> None:
        """Fire *barrier* when what is being written has been written; at once if nothing is."""
        self._waiting.append(barrier)
        if not self.busy:
            self._fire()

    def work(self) -> bool:
        """Write what is in the spill; return whether the store took all of it."""
        queue = self.queue
        spill = queue.spill
        try:
            # As `Fifo.take`: what has been taken stays in the list, come what may.
            self._taken.extend(Popped(spill, len(spill)))
        except IndexError:
            """The writer has taken back the rest."""
        found = sort_items(self._taken)
        held: set[int] = set()
        if found.lines:
            outcome = attempt(self._store, Batch(found.lines))
            held = set(taken_of(outcome, len(found.lines)))
        entries = dict(found.entries)
        fate = Fate(State.HELD, self._store.name)
        for index in held:
            if index in entries:
                self._settle(entries[index], fate)
        rest: list[Item] = []
        for index, line in enumerate(found.lines):
            if index not in held:
                rest += [entries.get(index, line), *repeat(None, queue.padding(len(line)))]
        self.spilled += len(held)
        if rest:
            spill.extendleft(reversed([*rest, *found.barriers]))
        else:
            # What was behind the lines in the spill is behind those in the queue as well.
            queue.entries.extend(found.barriers)
        self._taken = []
        self._fire()
        queue.tell()
        if queue.idle and (rest or found.barriers):
            queue.ring()
        return not rest

    def _fire(self) -> None:
        while self._waiting:
            self._waiting.popleft().fire()

    def _wanted(self) -> bool:
        # What an exception left half done is in `_taken`, and is written once more.
        return bool(self.queue.spill or self._taken) and not self._leaving

    def _main(self) -> None:
        while self._wanted():
            if not self.work():
                self._bell.wait(_REST)
