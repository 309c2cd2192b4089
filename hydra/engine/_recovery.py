"""
Recovery: what others left is taken over by the run that came after them.

Rule 1: held lines are adopted as they are, journals line by line.
Rule 2: nothing is lost by a recovery that fails or is cut short: the files stay,
and the next start finds them again.
Rule 3: a run of this process that left something has it in its books until it is
taken over. It may be a run of any scope; files are told by their paths.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from collections import deque
from typing import TYPE_CHECKING

from fallbacks.journal import Refusals, adopt

from ..core.ids import identify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fallbacks.journal import Recovered

    from ._run import Run


class Recovery:
    """
    Take over what dead processes, and closed runs of this one, left to the destinations of *run*.

    Args:
        run: The run that takes it.
    """

    def __init__(self, run: Run) -> None:
        self.failures = 0
        """Journals that could not be taken over, and stayed where they are."""
        self.refusals = Refusals()
        self.runs: Callable[[], Iterable[Run]] = lambda: ()
        """Gives the runs of this process that are in the books."""
        self._run = run
        self._asked: deque[None] = deque()
        self._at_work = allocate_lock()
        self._waiting: deque[Callable[[], object]] = deque()

    def start(self) -> None:
        """Take over what is there, on a thread of its own, after those that are at it."""
        self._asked.append(None)
        try:
            start_new_thread(self._main, ())
        except RuntimeError:
            # Without threads, the next start will find it again.
            self._asked.pop()

    @property
    def over(self) -> bool:
        """Whether everything that was there to be taken over has been."""
        return not self._asked

    def take_over(self) -> None:
        """Take over what is there, on this thread."""
        run = self._run
        for service in run.services.values():
            if run.closed:
                return
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
                self._strike_out(recovered)

    def _strike_out(self, recovered: Recovered) -> None:
        """Where the run was one of this process: its records are in the books of this one now."""
        former = next((run for run in self.runs() if run.id == recovered.run), None)
        if former is None:
            return
        for name, lines in recovered.pending.items():
            former.services[name].hand_over({identify(line) for line in lines})

    def note_taken(self, path: str) -> None:
        """Where the held file at *path* was one of this process: it is in other books now."""
        for run in self.runs():
            for service in run.services.values():
                for store in service.writer.stores:
                    store.disown(path)

    def notify(self, wake: Callable[[], object]) -> None:
        """Have *wake* called when the recovery is over; at once when it is."""
        self._waiting.append(wake)
        if self.over:
            wake()

    def _main(self) -> None:
        with self._at_work:
            try:
                self.take_over()
            except Exception:
                self.failures += 1
            finally:
                self._asked.pop()
        # It may have been closed meanwhile: what has been opened since is nobody's then.
        self._run.recovery_over()
        while self._waiting and self.over:
            self._waiting.popleft()()
