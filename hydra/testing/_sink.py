"""
The rules of a sink: those of a tier, tried on canonical lines, and what logging adds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import count
from typing import Any, Final, TypeVar

from fallbacks.outcomes import Permanent
from fallbacks.testing.conformance import (
    Broken,
    Case,
    Subject,
    TierCase,
    Verdict,
    check_subject,
    chosen,
    taken_from,
    tier_cases,
)
from fallbacks.tiers import tier_from

from ..core import EMPTY, INFO, LineEncoder, level_tag, logger_tag, new_run
from ._corpus import canonical_lines

T = TypeVar("T")

_ENCODER: Final = LineEncoder()
_INFO: Final = level_tag(INFO)
_LOGGER: Final = logger_tag("hydra.testing")
_NS: Final = 1_795_225_440_123_456_789
# A record of this size some receivers cannot take, and may say so.
_LARGE: Final = 4_096
_run = new_run().encode()
_extra = count(1)


def _line(number: int, size: int) -> bytes:
    """Return a canonical line with *number* in it, of about *size* bytes."""
    # The largest records there are have 64 KiB, all included.
    fill = "x" * max(0, min(size, _ENCODER.max_bytes) - 200)
    body = _ENCODER.body(_NS, _INFO, _LOGGER, "check", EMPTY, EMPTY, {"n": number, "fill": fill})
    return b'%b,"id":"%b.1r-%d"}\n' % (body, _run, number)


def _takes_every_line(s: Subject[Any]) -> None:
    # Ids of this case alone: a sink may keep the ids that it has seen.
    stream = b"%b.%d" % (_run, next(_extra) + 1)
    for line in canonical_lines():
        head, _, number = line.rpartition(b"-")
        start, lane = head[: head.rindex(b'"') + 1], head[-1:]
        batch = s.of([b"%b%b%b-%b" % (start, stream, lane, number)])
        answer = s.write(batch)
        if taken_from(batch, answer):
            continue
        if len(line) <= _LARGE or not isinstance(answer, Permanent):
            raise Broken(f"the answer was {answer!r} to the line {batch[0][:160]!r}")


SINK_CASES: Final[tuple[TierCase, ...]] = (
    *tier_cases(),
    Case(
        "every record",
        "A sink takes every record there can be: hostile text, exceptions, control records; only "
        "one too large for its receiver may be refused, and then for good.",
        _takes_every_line,
    ),
)


def sink_cases() -> tuple[TierCase, ...]:
    """Return the rules of a sink, for a parametrised test: one at a time to `check_sink`."""
    return SINK_CASES


def check_sink(
    make: Callable[[], T],
    *,
    received: Callable[[T], Iterable[bytes]] | None = None,
    fail: Callable[[T], object] | None = None,
    hang: Callable[[T], object] | None = None,
    heal: Callable[[T], object] | None = None,
    seconds: float = 3.0,
    cases: Iterable[TierCase] | None = None,
    skip: Collection[str] = (),
) -> Verdict:
    """
    Try whether what *make* makes is a sink that `hydra.Destination` can rely on.

    As `fallbacks.testing.check_tier`, with canonical lines. No logger, writer or
    engine takes part, and nothing that is configured is touched.

    Args:
        make: Returns a sink whose receiver is well: a tier, or a plain or async
            callable that takes a list of lines.
        received: Returns the lines that the sink's receiver has by now, in order, as
            the sink was given them; lines of others among them are ignored.
        fail: Has the receiver of the sink refuse everything from now on.
        hang: Has the receiver answer nobody from now on.
        heal: Ends both, and answers those who wait. Called on any thread.
        seconds: How long one rule may take, at most.
        cases: The rules to try, from `sink_cases`; all when None.
        skip: Names of rules to leave out.

    Raises:
        Nonconforming: If rules are broken, an `AssertionError`. Its message has each
            of them with what was seen.
        ValueError: If *skip* names no rule, or *seconds* is not positive.
    """
    return check_subject(
        make,
        tier_from,
        {"received": received, "fail": fail, "hang": hang, "heal": heal},
        lines=_line,
        seconds=seconds,
        cases=chosen(SINK_CASES, cases, skip),
    )
