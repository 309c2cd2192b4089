"""
How far a destination's file reached before the lines that it may have unannounced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fallbacks.tiers import AsyncFileTier, FileTier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fallbacks.position import Position
    from fallbacks.tier import Tier


class Reach:
    """
    The end of one copy's file, now and at the last moment when nothing was in doubt.

    What a call that was given up has written is found again from `sure` on, and by no
    later position.

    Args:
        tiers: The tiers of the copy; where none is a file there is never a position.
    """

    __slots__ = ("_files", "sure")

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self._files = [tier for tier in tiers if isinstance(tier, FileTier | AsyncFileTier)]
        # Nothing is open yet, and the first write may be the one that hangs.
        twins = (tier for tier in self._files if isinstance(tier, FileTier))
        self.sure = next((found for tier in twins if (found := tier.end())), None)
        """No line that is in doubt stands before it; None: one may stand anywhere."""

    @property
    def end(self) -> Position | None:
        """The place behind the last write; None while no file is open."""
        return next((found for tier in self._files if (found := tier.position())), None)

    def note(self) -> None:
        """Take the end of now as `sure`; where no file is open, the last one stays."""
        self.sure = self.end or self.sure

    def hint(self) -> Position | None:
        """Return `sure`, for a file of held lines that is begun now."""
        return self.sure
