"""
Recovery: what dead runs left is taken over by the run that came after them.

Rule 1: held lines are adopted as they are, journals line by line.
Rule 2: nothing is lost by a recovery that fails or is cut short: the files stay,
and the next start finds them again.
"""

from __future__ import annotations

from _thread import start_new_thread
from collections import deque
from typing import TYPE_CHECKING

from fallbacks.journal import Refusals, adopt

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._run import Run


class Recovery:
    """
    Take over what dead runs left to the destinations of *run*.

    Args:
        run: The run that takes it.
    """

    def __init__(self, run: Run) -> None:
        self.over = True
        """Whether everything that was there to be taken over has been."""
        self.failures = 0
        """Journals that could not be taken over, and stayed where they are."""
        self.refusals = Refusals()
        self._run = run
        self._waiting: deque[Callable[[], object]] = deque()

    def start(self) -> None:
        """Take over what is there, on a thread of its own."""
        self.over = False
        try:
            start_new_thread(self._main, ())
        except RuntimeError:
            # Without threads, the next start will find it again.
            self.over = True

    def take_over(self) -> None:
        """Take over what is there, on this thread."""
        run = self._run
        for service in run.services.values():
            service.adopt()
        directory = run.journal_directory
        if directory is None:
            return
        names = [name for name, service in run.services.items() if service.writer.store]
        for recovered in adopt(
            directory,
            app=run.settings.app,
            destinations=names,
            system=run.system,
            refusals=self.refusals,
        ):
            if run.closed:
                # Whoever comes next finds them again.
                recovered.release()
                return
            try:
                for name, lines in recovered.pending.items():
                    run.services[name].take_over(recovered.run, lines, recovered.scan.get(name))
            except OSError:
                # Nothing is lost: the journal stays for the next start.
                self.failures += 1
                recovered.release()
            else:
                recovered.finish()

    def notify(self, wake: Callable[[], object]) -> None:
        """Have *wake* called when the recovery is over; at once when it is."""
        self._waiting.append(wake)
        if self.over:
            wake()

    def _main(self) -> None:
        try:
            self.take_over()
        except Exception:
            self.failures += 1
        finally:
            self.over = True
            # It may have been closed meanwhile: what has been opened since is nobody's then.
            self._run.recovery_over()
            while self._waiting:
                self._waiting.popleft()()
