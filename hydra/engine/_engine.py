"""
The engine: all scopes of the process, and what the process does to them.

Rule 1: there is one engine per process. The child of a fork has another.
Rule 2: the engine is itself the scope of the module's functions; the fronts have
others. Whatever concerns the process concerns all of them.
Rule 3: nothing is started by importing this module; two hooks are registered.
"""

from __future__ import annotations

import os
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from ..metrics import Stats
from . import _hooks
from ._reading import read, together
from ._receipts import QUEUED
from ._scope import KEPT, Lease, Scope
from ._waiting import forget_threads

if TYPE_CHECKING:
    from ._admission import Admission
    from ._run import Run


_CLEARED: Final = 0.05
"""Seconds that the system may take to clear away threads that have ended."""


def _threads() -> int:
    """Return how many threads the system sees; 0 where it does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


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
        owing = [scope for scope in over if scope.owes][-KEPT:]
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
        before = _threads()
        left = before - sum(run.park() for run in self._runs())
        # Python 3.12 and later count the system's threads at a fork, and warn of them.
        most = monotonic() + _CLEARED
        while left < before and _threads() > left and monotonic() < most:
            sleep(0.0002)

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


ENGINE: Final = Engine()
QUEUED.connect(ENGINE.flush, ENGINE.aflush)
_hooks.watch_forks(ENGINE)
