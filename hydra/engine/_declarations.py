"""
Declarations: what a destination's file says about itself, on its way there.

Rule 1: live records never wait for a declaration.
Rule 2: what is not written yet is not added to: an outage must not fill the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.ledger import Drops
from fallbacks.strategy import Rule, Strategy
from fallbacks.tier import Kind

from ._jobs import Job, JobKind, numbered

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ._books import Books
    from ._control import ControlStream

# Seconds between two control records that declare drops.
REPORT_EVERY: Final = 1.0

_DECLARED: Final = Rule(Strategy.MIRROR)


class Declarations:
    """
    The control records of one destination that are to be written.

    Args:
        books: The destination's account.
        control: Makes the records; None when they are turned off.
        auditable: Whether the destination's own output can be audited, so that
            records which another tier took for good must be declared.
        closes: Whether a clean close is recorded.
    """

    def __init__(
        self, books: Books, control: ControlStream | None, *, auditable: bool, closes: bool
    ) -> None:
        self._books = books
        self._control = control
        self._auditable = auditable
        self._closes = closes
        self._diverted = Drops(books.clock)
        self._lines: list[bytes] = []
        self._at = 0.0
        self._closing = False
        self._reported_at = -REPORT_EVERY

    def divert(self, batch: Batch, indices: Sequence[int], tier: str) -> None:
        """Have it declared that *tier* took lines of *batch* for good."""
        for index in indices if self._auditable else ():
            self._diverted.note(*numbered(batch[index]), f"tier:{tier}")

    @property
    def ready(self) -> bool:
        """Whether there are lines that may be sent now."""
        return bool(self._lines) and self._books.clock.monotonic() >= self._at

    def wait(self, now: float) -> float | None:
        """Return the seconds until there are lines to send; None when nothing is to be said."""
        if self._lines:
            return self._at - now
        if self._control is not None and (
            self._books.drops.unreported or self._diverted.unreported
        ):
            return self._reported_at + REPORT_EVERY - now
        return None

    def hasten(self) -> None:
        """Somebody waits: end a pause."""
        self._at = 0.0

    def close(self) -> bool:
        """Add what is left to say, and the record of a clean close; return whether to say it."""
        if self._control is None:
            return False
        self._closing = True
        self._report(final=True)
        if self._closes:
            streams = self._books.streams
            totals = {stream.label: stream.issued for stream in streams if stream.issued}
            self._lines.append(self._control.close(totals, self._books.clock.time_ns()))
        return True

    def job(self, tiers: Collection[int] | None, patient: bool) -> Job | None:
        """Return a job with what is to be said; None when that is nothing now."""
        self._report(final=False)
        if not self.ready:
            return None
        batch, plan = Batch(list(self._lines)), self._books.chain.plan
        if not self._closing:
            # Live records must not wait for it, wherever it can go.
            if self._auditable:
                tiers = [i for i in self._takers() if tiers is None or i in tiers]
            patient = False
        # One copy is enough, since nobody is promised more of what the engine itself says.
        rule = _DECLARED if plan.rule.spreads else None
        allowed = None if tiers is None else tuple(tiers)
        delivery = plan.begin(len(batch), tiers=allowed, patient=patient, rule=rule)
        return Job(JobKind.CONTROL, batch, delivery)

    def finish(self, job: Job) -> None:
        """Take in what became of *job*: what is left is tried again later."""
        left = [job.batch[index] for index in job.delivery.left]
        self._lines[: len(job.batch)] = left
        if left:
            self._at = self._books.clock.monotonic() + REPORT_EVERY

    def _takers(self) -> list[int]:
        """
        Return the tiers that a file's declarations go to.

        A file has to declare by itself what it lacks. What it cannot take now waits;
        standard error would take it, and nobody would look for it there.
        """
        chain = self._books.chain
        files = chain.homes if chain.plan.rule.spreads else chain.primaries
        kinds = [tier.kind for tier in chain.plan.tiers]
        return [i for i, kind in enumerate(kinds) if i in files or kind is not Kind.FINAL]

    def _report(self, *, final: bool) -> None:
        if self._control is None:
            return
        clock = self._books.clock
        now = clock.monotonic()
        if not final and (self._lines or now - self._reported_at < REPORT_EVERY):
            return
        for tally, event, said in (
            (self._books.drops, "drops", "dropped"),
            (self._diverted, "diverted", "delivered by another tier"),
        ):
            report = tally.report() if tally.unreported else None
            if report is not None:
                self._reported_at = now
                self._lines += self._control.report(event, said, report, clock.time_ns())
