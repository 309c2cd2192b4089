"""
The engine: which run is in force, and the way from one to the next.

Rule 1: there is one engine per process. The child of a fork has another.
Rule 2: the routes that loggers hold are only a memory of what the run in force
says; forgetting them is how a change of configuration reaches every logger.
Rule 3: nothing is started by importing this module; two hooks are registered.
Rule 4: the engine has a scope of its own, that of the module's functions, and
further ones for the fronts. Each has its own configurations, one after the
other; whatever concerns the process concerns all of them.
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
from ._reading import read, together
from ._receipts import QUEUED
from ._routes import Routes
from ._waiting import forget_threads, wait, wait_async

if TYPE_CHECKING:
    from ._admission import Admission
    from ._run import Run

# How many runs that are closed, and still owe something, are kept for their statistics.
_KEPT: Final = 8


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
        fresh.recovery.former = self._retired_run
        old, self.run = self.run, fresh
        if old is not None:
            self._retired = [*self._retired, old]
            for name, service in fresh.services.items():
                service.predecessor = old.services.get(name)
        self._forget_routes()
        fresh.start(leftovers=leftovers(fresh))
        if old is not None:
            old.keeper.on_left = self._take_over_left
            old.retire()
            self._forget_retired()
        _hooks.register(self._engine)

    def _forget_retired(self) -> None:
        # Closed is not enough: its last writer may still be letting go of the files, and
        # the end of the process has to wait for that.
        retired = self._retired
        owing = [other for other in retired if other.gone and other.owes]
        self._retired = owing[-_KEPT:] + [other for other in retired if not other.gone]

    def _retired_run(self, name: str) -> Run | None:
        return next((run for run in self._retired if run.id == name), None)

    def _take_over_left(self) -> None:
        # What a retired run has left to its journal need not wait for another start.
        run = self.run
        if run is not None and not run.closing:
            run.recovery.start()

    def _forget_routes(self) -> None:
        for routes in (*self._routes.values(), *(found() for found in [*self._leased.values()])):
            if routes is not None:
                routes.ways = {}

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

    # -- what others end

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


class Engine(Scope):
    """The scope of the module's functions, and all the others. Use `ENGINE`."""

    def __init__(self) -> None:
        super().__init__(self)
        self._pid = os.getpid()
        self._parents: list[Run] = []
        # A dict, since its operations cannot be interrupted by another thread's.
        self._scopes: dict[Scope, None] = {}

    def scope(self, name: str, *, default: str = "") -> Lease:
        """Make a scope beside this one, without a configuration yet."""
        scope = Scope(self, name, default=default)
        self._scopes[scope] = None
        return Lease(scope)

    def scopes(self) -> list[Scope]:
        """Return all scopes that matter, its own last."""
        over = [scope for scope in list(self._scopes) if scope.over]
        owing = [scope for scope in over if scope.owes][-_KEPT:]
        for scope in over:
            if scope not in owing:
                self._scopes.pop(scope, None)
        return [*self._scopes, self]

    def all_runs(self) -> list[Run]:
        """Return the runs of all scopes, also those of a parent as long as a fork is unnoticed."""
        return [run for scope in (*self._scopes, self) for run in scope.own_runs()]

    def admissions(self) -> list[Admission]:
        """Return what decides about full queues, in all runs."""
        return [run.admission for run in self.all_runs()]

    def _runs(self) -> list[Run]:
        self.forked()
        return [run for scope in self.scopes() for run in scope.own_runs()]

    def stats(self) -> Stats:
        """Return a reading of everything, in all scopes."""
        self.forked()
        return together((scope.name, read(scope.own_runs())) for scope in self.scopes())

    @property
    def exit_timeout(self) -> float | None:
        """Seconds that the end of the process may take; None: nothing is at work here."""
        runs = self.all_runs()
        return max((r.settings.exit_timeout for r in runs if r.pid == os.getpid()), default=None)

    def reset(self, timeout: float = 5.0) -> None:
        """Close, and forget every configuration: what the next test wants to find."""
        self.close(timeout)
        self.run = self._settings = None
        self._retired = []
        self._scopes.clear()
        self._forget_routes()
        forget_threads()

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
        runs = [run for scope in (*self._scopes, self) for run in scope.inherited()]
        for run in runs:
            run.abandon()
        _hooks.close_inherited(tuple({prefix for run in runs for prefix in run.prefixes}))
        # Kept alive: their locks and descriptors may be in any state, and a
        # finaliser that ran on them here could do the parent's work twice.
        self._parents += runs
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
