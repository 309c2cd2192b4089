"""
A run: what one configuration is in one process, from its first record to its close.

Rule 1: a run is never changed. Another configuration, or the child of a fork, is
another run with another id; the old one drains by itself.
Rule 2: a forked child keeps its parent's run alive and untouched. What threads
were doing at the fork is half done in there for ever.
"""

from __future__ import annotations

import os
from collections import deque
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..core.ids import new_run
from ..core.levels import ERROR
from ..core.line import logger_of
from ._admission import Admission
from ._closing import AFTER
from ._process import home
from ._receipts import FILTERED, OwnReceipt, Receipt
from ._recovery import Recovery
from ._stream import DISK_WAIT, GuaranteedStream, Stream
from ._waiting import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from fallbacks.clock import Clock
    from fallbacks.system import System

    from ..config import DestinationSettings, Settings
    from ..core.line import LineEncoder
    from ..queue import Entry
    from ._herald import Herald
    from ._keeper import Keeper
    from ._loop import EngineLoop
    from ._publisher import Publisher
    from ._service import Service
    from ._waiting import Notify
    from ._watchdog import Watchdog
    from ._writer import Writer

# Seconds that a fork waits for idle threads to end.
_PARK: Final = 0.1
# Seconds that close waits at least for files and directories to be let go of.
_LET_GO: Final = 2.0

# Seconds that hooks get at a close whose time the destinations have used up.
_TOLD: Final = 0.5


class Run:
    """
    The destinations of one configuration at work. Made by `build`.

    Args:
        settings: The configuration.
        encoder: Makes the lines.
        system: Files and processes.
        clock: Time.
    """

    def __init__(
        self, settings: Settings, encoder: LineEncoder, *, system: System, clock: Clock
    ) -> None:
        self.settings = settings
        self.encoder = encoder
        self.system = system
        self.clock = clock
        self.id = new_run()
        self.pid = os.getpid()
        self.home = home()
        """`home[0]` is true while the run is in force, and false in a child that was forked."""
        self.default_layer = ""
        """The layer of loggers that no layer is for; empty: no layer."""
        self.labels = count(1)
        self.draining: set[int] = set()
        self.admission = Admission(self.draining)
        self.destinations: dict[str, DestinationSettings] = {}
        self.services: dict[str, Service] = {}
        self.keeper: Keeper
        self.watchdog: Watchdog
        self.herald: Herald | None = None
        self.publisher: Publisher | None = None
        self.live_state = "off"
        """`on`, `off`, or why nothing is published although it should be."""
        self.loop: EngineLoop
        self.journal_state = "off"
        """`on`, `off`, or why there is none although there should be."""
        self.directories: tuple[str, ...] = ()
        """Directories of ours, removed at a clean close when they are empty."""
        self.held_prefixes: list[str] = []
        """Paths that the names of held files begin with."""
        self.journal_directory: str | None = None
        self.on_left: Callable[[], object] = lambda: None
        """Told when the run is gone and has left records for somebody to take over."""
        self.successor: Callable[[], Run | None] = lambda: None
        """Gives the run in force, for calls that find that this one is not."""
        self.suppressed = count()
        """Records that a processor dropped; read by its repr."""
        self.processing: set[int] = set()
        """Idents of threads that are inside a processor."""
        self.time_ns = clock.time_ns
        self.closing = False
        """Whether it was asked to end; nothing is begun that the end would have to wait for."""
        self.closed = False
        self.gone = False
        """Whether threads, files and directories of the run have been let go of."""
        self._ending = [True]
        self._leaves = False
        self._awaited: deque[Callable[[], object]] = deque()
        self._streams: dict[tuple[tuple[str, ...], bool], Stream] = {}
        self.recovery = Recovery(self)

    # -- routes

    def route(self, logger: str, level: int) -> Stream | None:
        """Return the stream for records of *logger* at *level*; None when nobody wants them."""
        settings = self.settings
        threshold, destinations = settings.level, settings.destinations
        layers = settings.layers
        layer = layers.get(layer_of(logger, layers) or self.default_layer)
        if layer is not None:
            threshold = threshold if layer.level is None else layer.level
            destinations = destinations if layer.destinations is None else layer.destinations
        if level < threshold:
            return None
        names = tuple(d.name for d in destinations if d.level is None or level >= d.level)
        return self.stream(names, guaranteed=level >= ERROR) if names else None

    def stream(self, names: tuple[str, ...], *, guaranteed: bool) -> Stream:
        """Return the stream of one lane to the destinations called *names*."""
        key = (names, guaranteed)
        stream = self._streams.get(key)
        if stream is None:
            writers = tuple(self.services[name].writer for name in names)
            kind = GuaranteedStream if guaranteed else Stream
            label = f"{next(self.labels)}{'g' if guaranteed else 'r'}"
            fresh = kind(self, label, writers)
            # Entered into the ledgers before anybody can use it: a signal handler
            # that raises in between leaves one behind that never counts anything.
            for writer in writers:
                writer.streams.append(fresh)
            # Two threads may get here at once: both get the one that was first.
            stream = self._streams.setdefault(key, fresh)
        return stream

    # -- the call path's slow side (see `Stream`)

    def journal_entry(self, entry: Entry) -> None:
        """Bring *entry* into the kernel, if there is a journal that takes it."""
        self.keeper.append(entry)

    def secure(
        self, entry: Entry, writers: tuple[Writer, ...], began: float, *, critical: bool
    ) -> Receipt:
        """Do what the level of a guaranteed record promises; *began* is when it was queued."""
        if entry.segment is not None:
            if not critical:
                return OwnReceipt(entry, writers)
            deadline = began + DISK_WAIT
            self.keeper.force(entry)
            if self.admission.may_wait:
                self._wait_until(lambda: entry.durable, entry.notify_durable, deadline)
            return OwnReceipt(entry, writers, deadline)
        services = [self.services[writer.name] for writer in writers]
        # One full timeout per destination: until it takes something again, the
        # next caller does not wait for it.
        patient = self.admission.may_wait and not any(service.stuck for service in services)
        timeout = writers[0].queue.patience
        for service in services:
            service.help(wait=patient, seconds=max(0.0, began + timeout - monotonic()))
        if patient and not entry.settled:
            for writer in writers:
                writer.hurry()
            self._wait_until(lambda: entry.settled, entry.notify, began + timeout)
            for service in services:
                if service.writer.name not in entry.fates:
                    service.note_stuck()
        return OwnReceipt(entry, writers)

    def resend(self, body: bytes, level: int, tracked: bool) -> Receipt:
        """
        Send *body* on where the run in force wants it.

        This one was replaced while the call was under way, or it is the parent's
        of a child that was forked behind Python's back.
        """
        successor = self.successor()
        assert successor is not None
        stream = successor.route(logger_of(body), level)
        return FILTERED if stream is None else stream.send(body, level, tracked)

    def _wait_until(self, done: Callable[[], bool], notify: Notify, deadline: float) -> None:
        try:
            self.admission.begin_wait()
            while not done() and (left := deadline - monotonic()) > 0:
                wait(notify, left)
        finally:
            self.admission.end_wait()

    def start(self, *, leftovers: bool) -> None:
        """Begin to serve: async sinks get their loop, *leftovers* of dead runs are taken over."""
        for service in self.services.values():
            service.on_closed = self._service_closed
            service.on_left = self._note_left
            service.prepare()
        if self.publisher is not None:
            self.publisher.start()
        self.keeper.on_left = self._note_left
        if leftovers:
            self.recovery.start()

    # -- the end

    def retire(self) -> None:
        """
        Drain and close, since another run is in force: calls that find out go there.

        One that is past finding out still writes here, even after the close; as
        nobody asks this run for anything then, it lets go of the file itself.
        """
        self.home[0] = 0
        for service in self.services.values():
            service.retired = True
        self.begin_close()

    def begin_close(self) -> None:
        """Ask every writer to drain and to end."""
        self.closing = True
        for service in self.services.values():
            service.begin_close()
            if self.gone:
                # What was logged since the close has opened the files again, and
                # nobody may ask this run for anything any more.
                service.close_own()

    def finish_close(self, deadline: float) -> None:
        """
        Wait for the writers until *deadline*, then do what is left on this thread.

        Needs no thread, no import and no loop, so that it works at interpreter exit.
        """
        for service in self.services.values():
            service.wait_closed(max(0.0, deadline - monotonic()))
        for service in self.services.values():
            service.seize()
        self._let_go()
        # The last writer to close lets go on its own thread, which must not be cut short.
        if not self.gone:
            wait(self._notify_gone, max(_LET_GO, deadline - monotonic()))
        # A line that found its writer at work, after the close, is left to whoever comes next;
        # and what was logged since an earlier close has opened the files again.
        for service in self.services.values():
            service.help(final=True, seconds=AFTER)
            if self.gone:
                service.close_own()
        herald = self.herald
        if herald is not None and not herald.wait_ended(max(_TOLD, deadline - monotonic())):
            herald.hush()

    def _service_closed(self) -> None:
        if all(service.closed for service in self.services.values()):
            self._let_go()

    def _let_go(self) -> None:
        """With every writer closed: end the threads, let go of files and directories. Once."""
        try:
            self._ending.pop()
        except IndexError:
            return
        self.closed = True
        if self.herald is not None:
            for service in self.services.values():
                self.herald.look(service.writer)
            self.herald.leave()
        self.watchdog.close()
        self.loop.stop()
        for service in self.services.values():
            service.let_go()
        self.keeper.close()
        if self.publisher is not None:
            self.publisher.close()
        for directory in self.directories:
            try:
                os.rmdir(directory)
            except OSError:
                """It is not empty, or not there: both are fine."""
        self.gone = True
        if self.recovery.over:
            # It may have ended just now, and have opened files in doing so.
            self._close_own()
        self._hand_on()
        while self._awaited:
            self._awaited.popleft()()

    def _note_left(self) -> None:
        self._leaves = True
        if self.gone:
            self._hand_on()

    def _hand_on(self) -> None:
        # Once for all services: each time, whoever takes over looks at everything.
        if self._leaves:
            self._leaves = False
            self.on_left()

    def recovery_over(self) -> None:
        """Let go of what the recovery has opened, if the run is gone."""
        if self.gone:
            self._close_own()

    def _close_own(self) -> None:
        for service in self.services.values():
            service.close_own()

    def _notify_gone(self, wake: Callable[[], object]) -> None:
        self._awaited.append(wake)
        if self.gone:
            wake()

    def park(self) -> int:
        """
        Before a fork: let idle threads end, so that the child inherits no half-done work.

        Returns:
            How many threads that were there have ended.
        """
        quiet = all(service.queue.idle for service in self.services.values())
        others = [
            thread
            for thread in (self.keeper, self.watchdog, self.publisher, self.herald)
            if thread is not None
        ]
        there = [thread for thread in others if thread.running]
        services = [service for service in self.services.values() if service.park()]
        if self.herald is not None:
            self.herald.park()
        if self.publisher is not None:
            self.publisher.park()
        deadline = monotonic() + _PARK
        ended = sum(service.wait_parked(max(0.0, deadline - monotonic())) for service in services)
        # Not before: a writer that is on its way out has both of them look after it.
        self.keeper.leave()
        self.watchdog.leave()
        for thread in others:
            # Where a writer is busy they are started again and again, and there are threads anyway.
            if (quiet or thread is self.herald) and thread.wait_ended(
                max(0.0, deadline - monotonic())
            ):
                ended += thread in there
        return ended

    def unpark(self) -> None:
        """After a fork, in the parent: go on with what came in meanwhile."""
        if self.herald is not None:
            self.herald.unpark()
        for service in self.services.values():
            if service.queue.idle and not service.writer.idle:
                service.queue.ring()
        if self.publisher is not None:
            self.publisher.start()

    @property
    def owes(self) -> bool:
        """Whether anything is pending here, so that its statistics still matter."""
        return any(service.writer.pending for service in self.services.values())

    @property
    def prefixes(self) -> tuple[str, ...]:
        """How the paths of our own locked files begin: the journal's and the held ones."""
        journal = (
            () if self.journal_directory is None else (os.path.join(self.journal_directory, ""),)
        )
        hidden = tuple(os.path.join(*_hidden(prefix)) for prefix in self.held_prefixes)
        live = () if self.publisher is None else self.publisher.paths
        return (*journal, *self.held_prefixes, *hidden, *live)

    def abandon(self) -> None:
        """In a forked child: close what was inherited, touch nothing else of the parent's."""
        if self.keeper.journal is not None:
            self.keeper.journal.abandon()
        if self.publisher is not None:
            self.publisher.abandon()
        for service in self.services.values():
            service.abandon()


def layer_of(logger: str, layers: Container[str]) -> str:
    """Return the layer that *logger* belongs to: its own, its nearest parent's, or "" for none."""
    name = logger
    while name and name not in layers:
        name = name.rpartition(".")[0]
    return name


def _hidden(prefix: str) -> tuple[str, str]:
    """Return directory and name of *prefix* as its files are called before they are whole."""
    directory, name = os.path.split(prefix)
    return directory, f".{name}"
