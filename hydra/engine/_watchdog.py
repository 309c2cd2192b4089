"""
The watchdog: one thread that notices calls which outlive their deadline.

Rule 1: it does no I/O and takes no lock that anything else holds for long.
Rule 2: it sleeps as long as no writer is busy; a writer that gets busy wakes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._bell import Bell, Once

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self.notice: Callable[[Service], object] | None = None
        """Shown each busy writer at each look."""
        self._threaded = threaded
        self._services: dict[Service, None] = {}
        self._asleep = True
        self._leaving = False
        self._closed = False
        self._bell = Bell()
        self._thread = Once(self._main)

    def watch(self, service: Service) -> None:
        """Look at *service* from time to time until it is idle again."""
        self._services[service] = None
        if self._asleep and self._threaded and not self._closed:
            self._asleep = self._leaving = False
            try:
                self._bell.ring()
                # Without a thread, deadlines of sync tiers go unwatched; the rest works.
                self._thread.start()
            except BaseException:
                # Out of a signal handler; the next writer that gets busy has to wake it.
                self._asleep = True
                raise

    def look(self) -> None:
        """Rescue every writer whose call is overdue; forget those that are idle."""
        for service in list(self._services):
            if self.notice is not None:
                self.notice(service)
            if service.overdue:
                service.rescue()
            elif not service.busy:
                self._services.pop(service, None)

    @property
    def running(self) -> bool:
        """Whether its thread exists."""
        return self._thread.running

    def leave(self) -> None:
        """Let the thread end, before a fork; `watch` starts another one."""
        self._leaving = True
        self._bell.ring()

    def wait_ended(self, seconds: float) -> bool:
        """Wait up to *seconds* until the thread has ended."""
        return self._thread.wait_ended(seconds)

    def close(self) -> None:
        """Let the thread end for good: a ring that comes late must not start another one."""
        self._closed = True
        self.leave()

    @property
    def _over(self) -> bool:
        return self._leaving or self._closed

    def _main(self) -> None:
        while not self._over:
            self._asleep = True
            if not self._services:
                self._bell.wait()
            self._asleep = False
            while self._services and not self._over:
                self._bell.wait(LOOK_EVERY)
                self.look()
        self._asleep = True
