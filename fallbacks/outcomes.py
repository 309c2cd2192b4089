"""
What an attempt to write a batch can end in: a closed union of five facts.

Rule 1: a tier returns one of these or raises; `outcome_of` turns whatever was
raised into one of them, so nothing a tier does is swallowed.
Rule 2: `Delivered` is the only word for "all is well". A tier that is not sure
says `Unknown`; it must never guess in its own favour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct


class Retryable(Struct, frozen=True):
    """
    Nothing was taken, and the same lines may succeed later.

    Args:
        error: What went wrong, for statistics and messages.
        after: Seconds the receiver asked us to wait (`Retry-After`), if it did.
    """

    error: BaseException | str | None = None
    after: float | None = None


class Full(Retryable, frozen=True):
    """
    Nothing was taken for want of room: the tier works, and its space is used up.

    A holding tier says it at its quota. Asking again soon is useless, and no
    reason to keep other lines away from the tier.
    """


class Permanent(Struct, frozen=True):
    """
    Nothing was taken, and these lines will never be: trying again is useless.

    Said of several lines it may be true of one of them only: they are offered
    again in smaller groups until the ones meant are found.
    """

    error: BaseException | str | None = None


class Unknown(Struct, frozen=True):
    """Nobody can say how many lines were taken: a deadline passed, an answer got lost."""

    error: BaseException | str | None = None


class Delivered(Struct, frozen=True):
    """
    The first *prefix* lines were taken; None means all of them.

    The lines behind the prefix were not taken and are treated as retryable.
    """

    prefix: int | None = None


class Partial(Struct, frozen=True):
    """
    Exactly the lines at *indices* were taken; *rest* tells what holds for the others.

    With `Permanent` it holds for each of them by itself: a receiver that names the
    records it refuses (a bulk interface) saves the search for them. One that stopped
    at the first bad line answers `Delivered(prefix)`, and is offered the rest again.
    """

    indices: Sequence[int]
    rest: Retryable | Permanent | Unknown = Retryable()


Outcome: TypeAlias = Delivered | Partial | Retryable | Permanent | Unknown
"""What a tier answers to one `write`."""

DELIVERED = Delivered()
"""The common answer, shared: every line was taken."""


def outcome_of(answer: object, size: int) -> Outcome:
    """
    Return *answer* if it is an honest outcome for *size* lines, else a `Retryable`.

    A tier that answers with something else (None, a number, more lines than it
    was given) has not said that the lines are safe; trying again may repeat
    them, believing it may lose them.
    """
    if isinstance(answer, Delivered):
        prefix: object = answer.prefix
        if prefix is None or (isinstance(prefix, int) and 0 <= prefix <= size):
            return answer
        return Retryable(f"tier claims {prefix} of {size} lines")
    if isinstance(answer, Partial):
        seen = set(answer.indices)
        if len(seen) != len(answer.indices) or not seen <= set(range(size)):
            return Retryable(f"tier claims lines that are not in a batch of {size}")
        rest: object = answer.rest
        if not isinstance(rest, Retryable | Permanent | Unknown):
            rest = Retryable(f"tier answered {type(rest).__name__} for the other lines")
        return Partial(answer.indices, _plain(rest))
    if isinstance(answer, Retryable | Permanent | Unknown):
        return _plain(answer)
    return Retryable(f"tier answered {type(answer).__name__}, which is no outcome")


def taken_of(answer: Outcome, size: int) -> Sequence[int]:
    """Return which of *size* lines the honest *answer* says were taken."""
    match answer:
        case Delivered(prefix):
            return range(size if prefix is None else prefix)
        case Partial(indices):
            return indices
        case _:
            return ()


def _plain(answer: Retryable | Permanent | Unknown) -> Retryable | Permanent | Unknown:
    """Return *answer* with a time to wait that one can wait for."""
    after: object = answer.after if isinstance(answer, Retryable) else None
    if after is None or (isinstance(after, int | float) and 0 <= after < math.inf):
        return answer
    return Retryable(answer.error)


def outcome_of_error(error: BaseException) -> Outcome:
    """Return the outcome that stands for an exception raised by a tier."""
    return Retryable(error)
