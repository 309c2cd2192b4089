"""
The watchdog: one thread that notices calls which outlive their deadline.

Rule 1: it does no I/O and takes no lock that anything else holds for long.
Rule 2: it sleeps as long as no writer is busy; a writer that gets busy wakes it.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._service import Service

# Seconds between two looks at busy writers.
LOOK_EVERY: Final = 0.1


class Watchdog:
    """
    Looks after the writers of one run.

    Args:
        threaded: False for tests that call `look` themselves.
    """

    def __init__(self, *, threaded: bool = True) -> None:
        self._threaded = threaded
        self._services: dict[Service, None] = {}
        self._asleep = True
        self._running = False
        self._leaving = False
        self._bell = allocate_lock()
        self._bell.acquire()

    def watch(self, service: Service) -> None:
        """Look at *service* from time to time until it is idle again."""
        self._services[service] = None
        if self._asleep and self._threaded:
            self._wake()

    def look(self) -> None:
        """Rescue every writer whose call is overdue; forget those that are idle."""
        for service in list(self._services):
            if service.overdue:
                service.rescue()
            elif not service.busy:
                self._services.pop(service, None)

    @property
    def running(self) -> bool:
        """Whether its thread exists."""
        return self._running

    def leave(self) -> None:
        """Let the thread end, before a fork or at close; `watch` starts another one."""
        self._leaving = True
        self._ring()

    def _wake(self) -> None:
        self._asleep = False
        if self._running:
            self._ring()
            return
        self._running = True
        self._leaving = False
        try:
            start_new_thread(self._main, ())
        except RuntimeError:
            # No thread to be had: deadlines of sync tiers go unwatched, the rest works.
            self._running = False
            self._asleep = True

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            """Rung already."""

    def _main(self) -> None:
        while not self._leaving:
            self._asleep = True
            if not self._services:
                self._bell.acquire()
            self._asleep = False
            while self._services and not self._leaving:
                self._bell.acquire(True, LOOK_EVERY)
                self.look()
        self._asleep = True
        self._running = False
