"""
A bell and a thread that comes when it rings: what writer, watchdog and keeper share.

Rule: no condition, no event. A bell is one raw lock, and starting a thread is
claimed by a single pop, so that both may happen in a signal handler that
interrupted the same thing on the same thread.
"""

from __future__ import annotations

import math
from _thread import allocate_lock, start_new_thread
from collections import deque
from typing import TYPE_CHECKING

from ._waiting import wait

if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """A binary semaphore: ringing twice before somebody listens counts once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake whoever waits, or the next one to do so."""
        try:
            self._lock.release()
        except RuntimeError:
            """Rung already, and not yet heard."""

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the bell, up to *seconds*; return whether it rang."""
        if seconds is None or seconds == math.inf:
            return self._lock.acquire()
        return self._lock.acquire(True, max(0.0, seconds))


class Once:
    """
    At most one thread at a time that runs *main*.

    Args:
        main: What it does.
        more: Asked when it has ended, for what came in too late for it to see:
            whether another one is needed.
    """

    __slots__ = ("_ended", "_main", "_more", "_token")

    def __init__(
        self, main: Callable[[], object], *, more: Callable[[], bool] = lambda: False
    ) -> None:
        self._main = main
        self._more = more
        self._token = [True]
        self._ended: deque[Callable[[], object]] = deque()

    @property
    def running(self) -> bool:
        """Whether there is such a thread."""
        return not self._token

    def wait_ended(self, seconds: float) -> bool:
        """Wait up to *seconds* until none is there or needed; one that hangs is left behind."""
        return not self.running or wait(self._notify_ended, seconds)

    def start(self) -> bool:
        """
        Start the thread unless there is one; return whether there is one now.

        False means that the system or the ending interpreter has no thread to give.
        """
        token = started = None
        try:
            # Loops over C functions: a signal handler that raises finds each done,
            # and known to be done, or not begun.
            for token in map(list.pop, (self._token,)):
                break
            for started in map(start_new_thread, (self._run,), ((),)):
                break
        except IndexError:
            return True
        except RuntimeError:
            return False
        finally:
            if token and not started:
                self._token.append(True)
        return True

    def _run(self) -> None:
        try:
            self._main()
        except MemoryError:
            # Whoever needs the thread next starts another one; a traceback on the
            # application's standard error would help nobody.
            pass
        finally:
            self._token.append(True)
        self._pass_on()

    def _notify_ended(self, wake: Callable[[], object]) -> None:
        self._ended.append(wake)
        if not self.running:
            self._pass_on()

    def _pass_on(self) -> None:
        """Start the next thread, or tell who waits that there is none."""
        if self._more():
            self.start()
            return
        while self._ended:
            try:
                wake = self._ended.popleft()
            except IndexError:
                """Who began to wait meanwhile has told all."""
                return
            wake()
