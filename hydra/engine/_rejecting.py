"""
What a destination refuses for good, record by record.

Rule 1: a record leaves here as a dead letter: kept aside first, then counted as
dropped, told, and acknowledged in the journal. Killed in between, it is refused
and kept aside again by the next start, with the same id.
Rule 2: where it cannot be kept aside, a record of level ERROR or above stays where it
is, in the journal or held, and any other one is dropped as refused. What is in the
journal is tried again with the next refusal, for a barrier, and at the close.
Rule 3: the ticket holder's, like everything that a job ends in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..core.ids import guaranteed, identify, weigh
from ..queue import Fate, State
from ._jobs import JobKind, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fallbacks.dead_letters import DeadLetters

    from ..queue import Entry
    from ._books import Books
    from ._jobs import Job

DEAD_LETTER: Final = "dead_letter"
"""Reason of a drop: the destination will never take this record; it is kept aside."""
REFUSED: Final = "refused"
"""Reason of a drop: the destination will never take this record, and it is kept nowhere."""


class Rejects:
    """
    The records that one destination refuses for good, and what becomes of them.

    Args:
        books: The destination's account.
    """

    def __init__(self, books: Books) -> None:
        self.dead_letters: DeadLetters | None = None
        """Where they are kept aside; None when there is no such place."""
        self._books = books

    def part(self, job: Job, entries: Mapping[int, Entry]) -> list[bytes]:
        """Keep the rejected lines of *job* aside, count and tell them; return those that left."""
        rejected = job.delivery.rejected
        if not rejected:
            return []
        self.retry()
        lines = [job.batch[each.index] for each in rejected]
        kept = self._keep(
            [
                (line, self._books.chain.tiers[each.tier].name, _said(each.error))
                for line, each in zip(lines, rejected, strict=True)
            ]
        )
        found = [entries.get(each.index) for each in rejected]
        gone: list[bytes] = []
        held = job.kind is JobKind.REPLAY
        for place, (line, entry) in enumerate(zip(lines, found, strict=True)):
            if place < kept or not (held and guaranteed(line)):
                self._leave(line, entry, kept=place < kept)
                gone.append(line)
            # One by one: what a signal handler interrupts is not counted again.
            del rejected[0]
        self._acknowledge_kept(found[:kept])
        return gone

    def _keep(self, lines: Sequence[tuple[bytes, str, str]]) -> int:
        """Keep lines aside, each with its tier and the reason; return how many were kept."""
        if self.dead_letters is None:
            return 0
        return self.dead_letters.keep(
            [(line, (identify(line) or b"").decode(), tier, why) for line, tier, why in lines]
        )

    def _acknowledge_kept(self, entries: Sequence[Entry | None]) -> None:
        journaled = [e for e in entries if e is not None and e.segment is not None]
        if journaled:
            self._books.journal.acknowledge(self._books.name, None, journaled)

    def _leave(self, line: bytes, entry: Entry | None, *, kept: bool) -> None:
        books = self._books
        if entry is None:
            # A control record was never counted as routed.
            if weigh(line):
                books.note_drop(*numbered(line), DEAD_LETTER if kept else REFUSED)
        elif kept:
            books.drop(entry, DEAD_LETTER)
        elif entry.segment is None:
            books.drop(entry, REFUSED)
        else:
            books.stranded.append(entry)
            entry.settle(books.name, Fate(State.JOURNAL))

    def retry(self) -> None:
        """Keep aside what had to stay in the journal, as far as there is room now."""
        books = self._books
        while books.stranded:
            entry = books.stranded[0]
            if not self._keep([(entry.line, "", "refused before")]):
                return
            books.drop(entry, DEAD_LETTER)
            del books.stranded[0]
            self._acknowledge_kept([entry])


def _said(error: BaseException | str | None) -> str:
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}"
    return error or ""
