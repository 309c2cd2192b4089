"""
What a held store hands out: chunks of lines, and numbers about itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ..position import Position


class Chunk(Struct, frozen=True):
    """
    Lines to be replayed, oldest first; pass it to `acknowledge` when they are delivered.

    `suspect` says that the destination may have some of them already; `scan`
    from where in its file to look for their ids.
    """

    lines: Sequence[bytes]
    segment: str
    end: int
    suspect: bool
    scan: Position | None
    run: str


class HeldStatistics(Struct, frozen=True):
    """The store at one moment."""

    segments: int
    """Files that it keeps."""
    bytes: int
    """Bytes in them."""
    held: int
    """Weight of the lines not acknowledged."""
    torn: int
    """Torn and alien lines skipped so far."""
    refused: int
    """Files not adopted so far: of another user, an unknown version, or unsafe."""
    failures: int
    """Failed system calls so far that lost nothing."""
