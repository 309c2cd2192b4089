"""
The publisher: writes the statistics of a run to a file, for `hydra doctor --watch`.

Rule 1: it has a thread of its own, and only where `live_stats` asks for it: a disk
that hangs keeps this thread, and nothing else, waiting.
Rule 2: each reading is a new file, locked before it gets its name, so that whoever
opens that name finds a whole reading, and locked as long as its process lives.
Rule 3: the end waits half a second for a write under way; of the two the last one
removes the file.
"""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock
from typing import TYPE_CHECKING, Final

from fallbacks.files import lock_in_place, unlink_if_there, write_all
from fallbacks.system import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK

from ..metrics import Stats
from ..metrics._live import SUFFIX, Reading, encode
from ._bell import Bell, Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from fallbacks.clock import Clock
    from fallbacks.system import System

# Seconds between two readings.
INTERVAL: Final = 1.0
# Seconds that the end, and a fork, wait for a write under way.
_AT_CLOSE: Final = 0.5
_AT_FORK: Final = 0.1


class Publisher:
    """
    Publish the statistics of one run.

    Args:
        directory: Where; made when it is not there.
        app: The application.
        run: The id of the run.
        read: Gives the statistics.
        system: Files and processes.
        clock: Stamps the readings.
        threaded: False for tests that call `publish` themselves.
    """

    def __init__(
        self,
        directory: str,
        *,
        app: str,
        run: str,
        read: Callable[[], Stats],
        system: System,
        clock: Clock,
        threaded: bool = True,
    ) -> None:
        self.state = "on"
        """`on`, or why the last reading could not be published."""
        self.path = os.path.join(directory, run + SUFFIX)
        self._directory = directory
        self._hidden = os.path.join(directory, f".{run}{SUFFIX}")
        self.paths = (self.path, self._hidden)
        self._app = app
        self._run = run
        self._read = read
        self._system = system
        self._clock = clock
        self._threaded = threaded
        self._began = clock.time_ns()
        self._fd = -1
        self._first = True
        self._leaving = False
        self._closed = False
        self._writing = allocate_lock()
        self._bell = Bell()
        self._thread = Once(self._main, more=lambda: not self._leaving)

    def start(self) -> None:
        """Publish from now on; without a thread to be had, nothing is published."""
        if self._threaded and not self._closed:
            self._leaving = False
            if not self._thread.start():
                self.state = "no thread to be had"

    def publish(self) -> None:
        """Publish one reading; a failure is noted in `state`, and the next one tries again."""
        with self._writing:
            if self._closed:
                return
            try:
                if self._first:
                    self._system.makedirs(self._directory)
                    self._sweep()
                    self._first = False
                self._write()
                self.state = "on"
            except OSError as error:
                self.state = f"{type(error).__name__}: {error}"
                # The directory may have been taken away.
                self._first = True
            if self._closed:
                self._remove()

    def _write(self) -> None:
        system = self._system
        reading = Reading(
            app=self._app,
            run=self._run,
            pid=system.getpid(),
            began=self._began,
            time=self._clock.time_ns(),
            interval=INTERVAL,
            stats=self._read(),
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        fd = system.open(self._hidden, flags)
        try:
            if not system.lock(fd):
                raise BlockingIOError(
                    errno.EAGAIN, "another process is looking at it", self._hidden
                )
            error = write_all(system, fd, encode(reading))[1]
            if error is not None:
                raise error
            system.rename(self._hidden, self.path)
        except BaseException:
            system.close(fd)
            raise
        old, self._fd = self._fd, fd
        if old >= 0:
            system.close(old)

    def _sweep(self) -> None:
        """Remove what dead processes left; what is locked, or cannot be opened, is not ours."""
        system = self._system
        for name in system.listdir(self._directory):
            path = os.path.join(self._directory, name)
            if not name.endswith(SUFFIX):
                continue
            try:
                fd = system.open(path, os.O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.EACCES, errno.ELOOP}:
                    continue
                raise
            try:
                if lock_in_place(system, fd, path):
                    unlink_if_there(system, path)
            finally:
                system.close(fd)

    def _remove(self) -> None:
        try:
            for path in self.paths:
                unlink_if_there(self._system, path)
        except OSError as error:
            # The next start removes it: it is not locked any more.
            self.state = f"{type(error).__name__}: {error}"
        self.abandon()

    def _main(self) -> None:
        while not self._leaving:
            self.publish()
            self._bell.wait(INTERVAL)

    def park(self) -> None:
        """Before a fork: let the thread end, and a write under way, so that none is inherited."""
        self._leaving = True
        self._bell.ring()
        if self._writing.acquire(True, _AT_FORK):
            self._writing.release()

    @property
    def running(self) -> bool:
        """Whether its thread exists."""
        return self._thread.running

    def wait_ended(self, seconds: float) -> bool:
        """Wait up to *seconds* until the thread has ended; one that hangs is left behind."""
        return self._thread.wait_ended(seconds)

    def close(self) -> None:
        """Publish nothing more and remove the file. Idempotent."""
        self._closed = self._leaving = True
        self._bell.ring()
        if self._writing.acquire(True, _AT_CLOSE):
            try:
                self._remove()
            finally:
                self._writing.release()

    def abandon(self) -> None:
        """Let go of the descriptor, and with it, if no other process has it, of the lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                self._system.close(fd)
            except OSError as error:
                self.state = f"{type(error).__name__}: {error}"
