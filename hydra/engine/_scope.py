"""
A scope: one configuration after the other, and the way from one to the next.

Rule 1: the routes that loggers hold are only a memory of what the run in force
says; forgetting them is how a change of configuration reaches every logger.
Rule 2: a front's scope is at work as long as somebody holds a lease on it; then it
drains, and the engine forgets it.
"""

from __future__ import annotations

import os
from _thread import RLock
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import ref

from ..config import Settings, load, load_or_default
from ..metrics import Stats
from ..queue import Barrier
from . import _hooks
from ._build import build, leftovers, warn
from ._reading import read
from ._routes import Routes
from ._waiting import wait, wait_async

if TYPE_CHECKING:
    from ._engine import Engine
    from ._run import Run

# How many runs that are closed, and still owe something, are kept for their statistics.
KEPT: Final = 8


class Scope:
    """
    One configuration after the other, each at work as a run.

    Args:
        engine: The engine of the process.
        name: What its destinations are told by among those of other scopes.
        default: The layer of loggers that no layer is for; empty: no layer.
    """

    def __init__(self, engine: Engine, name: str = "", *, default: str = "") -> None:
        self.name = name
        self.run: Run | None = None
        self.left = False
        """Whether nobody can log here any more; what is queued drains."""
        self._engine = engine
        self._default = default
        self._retired: list[Run] = []
        self._routes: dict[str, Routes] = {}
        self._leased: dict[object, ref[Routes]] = {}
        self._settings: Settings | None = None
        # Reentrant, so that a signal handler's first record does not wait for the
        # call it interrupted. Never taken by a logger that knows its routes.
        self._installing = RLock()

    # -- routes

    def routes(self, name: str) -> Routes:
        """Return the routes of the logger called *name*; the same object each time."""
        found = self._routes.get(name)
        return self._routes.setdefault(name, Routes(name, self)) if found is None else found

    def current(self) -> Run:
        """Return the run in force; with nothing configured, or in a new child, make one."""
        run = self.run
        if run is not None and run.pid == os.getpid():
            return run
        self._engine.forked()
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
        self.open(load(config, preset=preset, file=file, keywords=keywords))

    def open(self, settings: Settings) -> None:
        """
        Put *settings* into force, as `configure` does.

        Raises:
            ConfigurationError: If `strict` is set and there is no place for the journal.
        """
        self._engine.forked()
        with self._installing:
            fresh = build(settings)
            self._settings = settings
            self._install(fresh)
        if settings.signals:
            _hooks.install_signal_handlers(self._engine)

    def reopen(self) -> None:
        """Put the last settings into force again, if their run was closed."""
        with self._installing:
            if self._settings is not None and (self.run is None or self.run.closing):
                self.open(self._settings)

    def _install(self, fresh: Run) -> None:
        fresh.successor = self.current
        fresh.default_layer = self._default
        fresh.admission.peers = self._engine.admissions
        fresh.recovery.runs = self._engine.all_runs
        old, self.run = self.run, fresh
        if old is not None:
            self._retired = [*self._retired, old]
            for name, service in fresh.services.items():
                service.predecessor = old.services.get(name)
        self._forget_routes()
        fresh.start(leftovers=leftovers(fresh))
        if old is not None:
            old.on_left = self._take_over_left
            old.retire()
            self._forget_retired()
        _hooks.register(self._engine)

    def _forget_retired(self) -> None:
        # Closed is not enough: its last writer may still be letting go of the files, and
        # the end of the process has to wait for that.
        retired = self._retired
        owing = [other for other in retired if other.gone and other.owes]
        self._retired = owing[-KEPT:] + [other for other in retired if not other.gone]

    def _take_over_left(self) -> None:
        # What a retired run has left to its files need not wait for another start.
        run = self.run
        if run is not None and not run.closing:
            run.recovery.start()

    def _forget_routes(self) -> None:
        for routes in (*self._routes.values(), *(found() for found in [*self._leased.values()])):
            if routes is not None:
                routes.by_level = {}

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

    def own_runs(self) -> list[Run]:
        """Return its runs, the one in force last."""
        return [*self._retired, *([self.run] if self.run is not None else [])]

    def _runs(self) -> list[Run]:
        # Those of a parent that forked behind Python's back are not ours to drain.
        self._engine.forked()
        return self.own_runs()

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

    def leased(self, name: str, lease: Lease) -> Routes:
        """Return routes of the logger called *name* that live as long as who uses them."""
        routes, key = Routes(name, self, lease), object()
        self._leased[key] = ref(routes, lambda _: self._leased.pop(key, None))
        return routes

    # -- the end of it

    def let_go(self) -> None:
        """
        Drain and close in the background: nobody can log here any more.

        Called out of a `__del__`, so at any moment and on any thread.
        """
        self.left = True
        for run in self.own_runs():
            if run.pid == os.getpid():
                run.begin_close()

    @property
    def over(self) -> bool:
        """Whether it was let go of, and nothing of it is at work any more."""
        return self.left and all(run.gone for run in self.own_runs())

    @property
    def owes(self) -> bool:
        """Whether anything is pending here, so that its statistics still matter."""
        return any(run.owes for run in self.own_runs())

    def inherited(self) -> list[Run]:
        """In a forked child: leave the parent's runs behind, and return them."""
        runs = self.own_runs()
        self._installing = RLock()
        self.run = None
        self._retired = []
        self._forget_routes()
        return runs


class Lease:
    """
    The right to log to a scope: a front has it, and each logger it gave out.

    When the last of them is gone the scope is let go of. Scope and engine do not
    hold it; that is why it is an object of its own.
    """

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def routes(self, name: str) -> Routes:
        """Return routes of the logger called *name* that hold this lease."""
        return self.scope.leased(name, self)

    def __del__(self) -> None:
        self.scope.let_go()


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
