"""
What is in doubt at one destination: lines that came back, and that a copy may have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fallbacks.position import Position

    from ..sinks import Reach
    from ._jobs import Job, JobKind


class Doubt:
    """
    Whether jobs left lines in doubt behind, and how far the files reached before that.

    True as long as there is any doubt.
    """

    def __init__(self) -> None:
        self.reaches: Sequence[Reach] = ()
        """How far the file of each copy reaches, the destination's own first."""
        self._kinds: set[JobKind] = set()

    def __bool__(self) -> bool:
        return bool(self._kinds)

    @property
    def position(self) -> Position | None:
        """Up to where the destination's own file, if it is one, has no line in doubt."""
        if not self.reaches:
            return None
        return self.reaches[0].sure if self._kinds else self.reaches[0].end

    def begin(self) -> None:
        """A job is about to write: note how far the files reach, unless there is doubt already."""
        for reach in () if self._kinds else self.reaches:
            reach.note()

    def raise_by(self, job: Job) -> None:
        """Note that *job* leaves lines behind which a copy may have, if it does."""
        if job.delivery.suspect and job.delivery.left:
            self._kinds.add(job.kind)

    def settle_by(self, job: Job) -> None:
        """Note that *job* leaves nothing behind, if so: what its kind left before it took along."""
        if not job.delivery.left:
            self._kinds.discard(job.kind)
