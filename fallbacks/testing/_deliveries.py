"""
What cases do with a tier, and how its answers are compared with what arrived.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

from ..batch import Batch
from ..outcomes import Outcome, Partial, Unknown
from ._cases import Broken
from ._subject import Subject, taken_from

# A share of the time that a case has: for what may have to be waited for within it.
SHARE: Final = 0.25
_PAUSE: Final = 0.005


def deliver(s: Subject[Any], batch: Batch) -> None:
    """Write *batch* to a tier whose receiver is well, a part at a time if it likes."""
    left = list(batch.lines)
    while left:
        given = s.of(left, duplicate=batch.duplicate)
        answer = s.write(given)
        taken = set(taken_from(given, answer))
        if not taken:
            raise Broken(
                f"its receiver is well, and the answer to {len(left)} lines was {answer!r}"
            )
        left = [line for line in left if line not in taken]


def delivers_in_time(s: Subject[Any], batch: Batch) -> None:
    """Write *batch* until it is taken; what healed a moment ago may need another one."""
    end = monotonic() + s.seconds * SHARE
    never = threading.Event()
    while True:
        try:
            deliver(s, batch)
        except Broken:
            if monotonic() > end:
                raise
            # What an abandoned call holds is free when it returns: no event tells.
            never.wait(_PAUSE)
        else:
            return


def arrived(s: Subject[Any], batch: Batch) -> None:
    """Compare *batch*, which was delivered, with what the receiver has, if that is known."""
    if not s.has("received"):
        return
    found = s.received()
    for line in batch:
        times = found.count(line)
        if times != 1:
            raise Broken(f"the receiver has a line {times} times: {line[:80]!r}")


def agrees(s: Subject[Any], batch: Batch, answer: Outcome) -> None:
    """Compare *answer* with what the receiver has."""
    has = set(s.received())
    taken = set(taken_from(batch, answer))
    lost = taken - has
    if lost:
        raise Broken(
            f"the answer was {answer!r}, and {len(lost)} of the lines taken did not arrive"
        )
    rest = answer.rest if isinstance(answer, Partial) else answer
    extra = [line for line in batch if line in has and line not in taken]
    if extra and not isinstance(rest, Unknown):
        raise Broken(f"the answer was {answer!r}, and {len(extra)} lines not taken arrived")


def whole_or_refused(s: Subject[Any], batch: Batch, odd: Sequence[bytes]) -> None:
    """Write *batch*; only the lines of *odd* may be refused, and then when they come alone."""
    left = set(batch) - set(taken_from(batch, s.write(batch)))
    for line in batch:
        if line in left:
            alone = s.of([line])
            answer = s.write(alone)
            if taken_from(alone, answer):
                left.discard(line)
            elif line not in odd:
                raise Broken(f"a line next to an odd one was not taken: {answer!r}")
    if s.has("received"):
        found = set(s.received())
        lost = [line for line in batch if line not in left and line not in found]
        if lost:
            raise Broken(f"a line was taken and did not arrive as it was: {lost[0][:80]!r}")
