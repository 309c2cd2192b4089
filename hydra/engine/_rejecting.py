"""
What a destination refuses for good, record by record.

Rule 1: a record leaves here counted as dropped, whichever job it came in.
Rule 2: the ticket holder's, like everything that a job ends in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..core.ids import weigh
from ._books import Books
from ._jobs import numbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..queue import Entry
    from ._jobs import Job

REFUSED: Final = "refused"
"""Reason of a drop: the destination will never take this record."""


class Rejecting(Books):
    """A destination's books, and what becomes of the records that it refuses."""

    def _part_with_rejected(self, job: Job, entries: Mapping[int, Entry]) -> list[bytes]:
        """Count the rejected lines of *job* as dropped, tell who asked, and return them."""
        gone: list[bytes] = []
        # One by one: what a signal handler interrupts goes on where it was.
        while job.delivery.rejected:
            rejected = job.delivery.rejected.pop()
            line = job.batch[rejected.index]
            entry = entries.get(rejected.index)
            if entry is not None:
                self.drop(entry, REFUSED)
            elif weigh(line):
                # A control record was never counted as routed.
                self.note_drop(*numbered(line), REFUSED)
            gone.append(line)
        return gone
