"""
The engine: which run is in force, and the way from one to the next.

Rule 1: there is one engine per process. The child of a fork has another.
Rule 2: the routes that loggers hold are only a memory of what the run in force
says; forgetting them is how a change of configuration reaches every logger.
Rule 3: nothing is started by importing this module; two hooks are registered.
"""

from __future__ import annotations

import os
from _thread import RLock
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..config import Settings, load, load_or_default
from ..metrics import Stats
from ..queue import Barrier
from . import _hooks
from ._build import build, leftovers, warn
from ._reading import read
from ._receipts import QUEUED
from ._waiting import forget_threads, wait, wait_async

if TYPE_CHECKING:
    from ._run import Run
    from ._stream import Stream

# How many runs that are closed, and still owe something, are kept for their statistics.
_KEPT: Final = 8


class Routes:
    """What one logger name may send where: a stream per level, filled as levels are used."""

    __slots__ = ("levels", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels: dict[int, Stream | None] = {}


class Engine:
    """Holds the run in force. Use `ENGINE`; a second one is for tests."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self._pid = os.getpid()
        self._retired: list[Run] = []
        self._parents: list[Run] = []
        self._routes: dict[str, Routes] = {}
        self._settings: Settings | None = None
        # Reentrant, so that a signal handler's first record does not wait for the
        # call it interrupted. Never taken by a logger that knows its routes.
        self._installing = RLock()

    # -- routes

    def routes(self, name: str) -> Routes:
        """Return the routes of the logger called *name*; the same object each time."""
        found = self._routes.get(name)
        return self._routes.setdefault(name, Routes(name)) if found is None else found

    def resolve(self, routes: Routes, level: int) -> Stream | None:
        """Ask the run in force where records of this name and level go, and remember it."""
        run = self.current()
        stream = run.route(routes.name, level)
        routes.levels[level] = stream
        if run is not self.run:
            # The configuration changed in between; what was just remembered is stale.
            routes.levels.pop(level, None)
        return stream

    def current(self) -> Run:
        """Return the run in force; with nothing configured, or in a new child, make one."""
        run = self.run
        if run is not None and run.pid == os.getpid():
            return run
        self.forked()
        with self._installing:
            settings = self._settings
            problems: object = ()
            if settings is None:
                settings, problems = load_or_default()
            fresh = build(settings)
            # Another thread was first, or a signal handler that interrupted this call
            # and logged. Nothing has been started yet by the run that is dropped here.
            if self.run is not None:
                return self.run
            self._install(fresh)
        if problems:
            warn(f"the configuration in the environment is ignored: {problems}")
        return fresh

    # -- configuration

    def configure(
        self,
        config: Mapping[str, object] | Settings | str | os.PathLike[str] | None,
        preset: str | None,
        file: str | os.PathLike[str] | None,
        keywords: Mapping[str, object],
    ) -> None:
        """
        Put another configuration into force; what is queued drains under the old one.

        Raises:
            ConfigurationError: With every problem. The old configuration stays in force.
        """
        settings = load(config, preset=preset, file=file, keywords=keywords)
        self.forked()
        with self._installing:
            fresh = build(settings)
            self._settings = settings
            self._install(fresh)
        if settings.signals:
            _hooks.install_signal_handlers(self)

    def _install(self, fresh: Run) -> None:
        old, self.run = self.run, fresh
        fresh.on_fork = self.current
        if old is not None:
            for name, service in fresh.services.items():
                service.predecessor = old.services.get(name)
        self._forget_routes()
        fresh.start(leftovers=leftovers(fresh))
        if old is not None:
            self._retire(old)
        _hooks.register(self)

    def _retire(self, run: Run) -> None:
        run.begin_close()
        retired = [*self._retired, run]
        # Closed is not enough: its last writer may still be letting go of the files, and
        # the end of the process has to wait for that.
        owing = [other for other in retired if other.gone and other.owes]
        self._retired = owing[-_KEPT:] + [other for other in retired if not other.gone]

    def _forget_routes(self) -> None:
        for routes in list(self._routes.values()):
            routes.levels = {}

    # -- draining

    def stats(self) -> Stats:
        """Return a reading of everything."""
        return read(self._runs())

    def flush(self, timeout: float | None) -> bool:
        """Block until everything accepted before is delivered or held; return whether it is."""
        deadline = None if timeout is None else monotonic() + timeout
        self._wait_recovered(deadline)
        return all(wait(notify, _left(deadline)) for notify in self._barriers())

    async def aflush(self, timeout: float | None) -> bool:
        """As `flush`, for a task."""
        deadline = None if timeout is None else monotonic() + timeout
        for run in self._runs():
            if not run.recovery.over:
                await wait_async(run.recovery.notify, _left(deadline))
        done = True
        for notify in self._barriers():
            done = await wait_async(notify, _left(deadline)) and done
        return done

    def close(self, timeout: float) -> None:
        """Drain everything until *timeout*, then do what is left on this thread. Idempotent."""
        deadline = monotonic() + timeout
        self._wait_recovered(deadline)
        runs = self._runs()
        for run in runs:
            run.begin_close()
        for run in runs:
            run.finish_close(deadline)

    async def aclose(self, timeout: float) -> None:
        """As `close`, without blocking the loop while the writers drain."""
        deadline = monotonic() + timeout
        for run in [run for run in self._runs() if not run.closed]:
            if not run.recovery.over:
                await wait_async(run.recovery.notify, _left(deadline))
            run.begin_close()
            for service in run.services.values():
                await wait_async(service.notify_closed, _left(deadline))
        self.close(max(0.0, deadline - monotonic()))

    def reset(self, timeout: float = 5.0) -> None:
        """Close, and forget every configuration: what the next test wants to find."""
        self.close(timeout)
        self.run = self._settings = None
        self._retired = []
        self._forget_routes()
        forget_threads()

    def _runs(self) -> list[Run]:
        # Those of a parent that forked behind Python's back are not ours to drain.
        self.forked()
        return [*self._retired, *([self.run] if self.run is not None else [])]

    def _wait_recovered(self, deadline: float | None) -> None:
        for run in self._runs():
            if not run.recovery.over:
                wait(run.recovery.notify, _left(deadline))

    def _barriers(self) -> list[Callable[[Callable[[], object]], object]]:
        """Put a barrier into every queue; return for each how to be told that it was passed."""
        return [
            _Passed(service.writer.barrier).notify
            for run in self._runs()
            for service in run.services.values()
            if not run.closed
        ]

    # -- fork

    def park(self) -> None:
        """Before a fork: let idle threads end."""
        for run in self._runs():
            run.park()

    def unparked(self) -> None:
        """In the parent, after a fork: serve again what came in meanwhile."""
        for run in self._runs():
            run.unpark()

    def forked(self) -> None:
        """In the child: leave the parent's runs behind; the next record makes a new one."""
        if os.getpid() == self._pid:
            return
        self._pid = os.getpid()
        self._installing = RLock()
        for run in self._runs():
            run.abandon()
        _hooks.close_inherited(tuple({prefix for run in self._runs() for prefix in run.prefixes}))
        # Kept alive: their locks and descriptors may be in any state, and a
        # finaliser that ran on them here could do the parent's work twice.
        self._parents += self._runs()
        self.run = None
        self._retired = []
        self._forget_routes()
        forget_threads()
        _hooks.in_child(self)


class _Passed:
    """A barrier in one queue, and whoever waits for it."""

    def __init__(self, queue: Callable[[Barrier], None]) -> None:
        self._passed = False
        self._wake: Callable[[], object] | None = None
        queue(Barrier(self._fire))

    def _fire(self) -> None:
        self._passed = True
        if self._wake is not None:
            self._wake()

    def notify(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        if self._passed:
            wake()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - monotonic())


ENGINE: Final = Engine()
QUEUED.connect(ENGINE.flush, ENGINE.aflush)
_hooks.watch_forks(ENGINE)
