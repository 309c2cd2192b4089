"""
What lines become on their way to a descriptor, and what a byte count says of them.

Rule 1: everything here is a pure function; the tiers do the writing.
Rule 2: a line counts as written when its last byte was, never before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..batch import Batch
from ..outcomes import DELIVERED, Outcome, Partial, Retryable
from ..tier import RenderError

Render: TypeAlias = Callable[[bytes], bytes]
"""Turns one line into the bytes to be written for it."""

NEWLINE = b"\n"


def render_lines(batch: Batch, render: Render | None) -> Sequence[bytes]:
    """
    Return what stands for each line of *batch*.

    Raises:
        RenderError: If *render* raises an Exception.
    """
    if render is None:
        return batch.lines
    try:
        return list(map(render, batch.lines))
    except Exception as error:
        raise RenderError(f"{type(error).__name__}: {error}") from error


def count_whole(pieces: Sequence[bytes], written: int) -> int:
    """Return how many of *pieces* lie wholly within the first *written* bytes."""
    end = 0
    for count, piece in enumerate(pieces):
        end += len(piece)
        if end > written:
            return count
    return len(pieces)


def judge(pieces: Sequence[bytes], size: int, written: int, error: OSError | None) -> Outcome:
    """
    Return what became of *pieces* when *written* of their *size* bytes were taken.

    Args:
        pieces: What was to be written, one entry for each line.
        size: Their length in bytes, all together.
        written: How many of these bytes were taken; none of a leading newline.
        error: What stopped the write, if it stopped early.
    """
    if written >= size:
        return DELIVERED
    whole = count_whole(pieces, written)
    if whole == 0:
        return Retryable(error)
    return Partial(range(whole), Retryable(error))


def last_of(pieces: Sequence[bytes]) -> bytes:
    """Return the last of *pieces* that is not empty; b"" where none is."""
    return next(filter(None, reversed(pieces)), b"")


def is_torn(data: bytes, written: int, before: bool) -> bool:
    """
    Return whether a line is left without its newline after a write.

    Args:
        data: What was to be written, a leading newline included.
        written: How many bytes of it were taken.
        before: Whether the line before it lacked its newline.
    """
    return before if written == 0 else data[written - 1 : written] != NEWLINE


def chunk_end(data: bytes, start: int, limit: int) -> int:
    """
    Return where to stop a write of *data* that begins at *start*.

    That is behind the last newline within *limit* bytes; a line longer than that
    is taken whole.
    """
    if len(data) - start <= limit:
        return len(data)
    end = data.rfind(NEWLINE, start, start + limit)
    if end < 0:
        end = data.find(NEWLINE, start + limit)
    return len(data) if end < 0 else end + 1
