"""
Control records: what a destination's file says about itself.

A file that lost records on purpose must say so, and a file that is complete must
be able to prove it. So the writer itself, never the queue, puts lines of the
logger `hydra.ledger` among the others: which numbers were dropped, which went
to another tier for good, and at a clean close the last number of every stream.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from ..core.levels import INFO, WARNING, level_tag
from ..core.line import EMPTY, LineEncoder, logger_tag
from ..core.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fallbacks.ledger import Range, Report

LEDGER: Final = "hydra.ledger"
# Ranges per line: a record is cut at 64 KiB, and a range takes about 100 bytes.
_RANGES: Final = 200


class ControlStream:
    """
    The control records of one destination, in a numbered stream of their own.

    Args:
        prefix: The id up to its number: `,"id":"<run>.<route>c-`.
        label: The stream's label.
        destination: Name of the destination.
        encoder: Makes the lines.
    """

    def __init__(self, prefix: bytes, label: str, destination: str, encoder: LineEncoder) -> None:
        self.label = label
        self._prefix = prefix
        self._destination = destination
        self._encoder = encoder
        self._tag = logger_tag(LEDGER)
        self._numbers = count(1)
        self._issued = 0

    def report(self, event: str, said: str, report: Report, now: int) -> Iterator[bytes]:
        """
        Yield lines that declare *report*; more than one when it is long.

        Args:
            event: `drops` or `diverted`.
            said: The verb of the message: "dropped", "delivered elsewhere".
            report: What the tally handed out.
            now: Nanoseconds since the epoch.
        """
        for start in range(0, len(report.ranges), _RANGES):
            ranges = report.ranges[start : start + _RANGES]
            total = sum(r.count for r in ranges)
            records = "record" if total == 1 else "records"
            yield self._line(
                WARNING,
                f"{total} {records} {said}",
                {
                    "event": event,
                    "destination": self._destination,
                    "count": total,
                    "drops": [_plain(r) for r in ranges],
                    "since": rfc3339(report.since).decode(),
                    "until": rfc3339(report.until).decode(),
                },
                now,
            )

    def close(self, totals: Mapping[str, int], now: int) -> bytes:
        """Return the line of a clean close; *totals* is the last number of every other stream."""
        return self._line(
            INFO,
            "closed",
            {
                "event": "close",
                "destination": self._destination,
                "totals": {**totals, self.label: self._issued + 1},
            },
            now,
        )

    def _line(self, level: int, message: str, fields: dict[str, object], now: int) -> bytes:
        body = self._encoder.body(now, level_tag(level), self._tag, message, EMPTY, EMPTY, fields)
        self._issued = next(self._numbers)
        return b'%b%b%d"}\n' % (body, self._prefix, self._issued)


def _plain(found: Range) -> dict[str, object]:
    return {
        "stream": found.stream,
        "from": found.first,
        "to": found.last,
        "count": found.count,
        "level": found.level,
        "reason": found.reason,
    }
