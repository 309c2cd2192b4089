"""
Looking records up in a file that may have them already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fallbacks.tiers import FileTier

from ..core.ids import identify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fallbacks.chain import Chain
    from fallbacks.held import Chunk
    from fallbacks.position import Position


def file_among(chain: Chain, tiers: Iterable[int]) -> FileTier | None:
    """Return the one of *tiers* that can tell what is in its file, if there is one."""
    for index in tiers:
        tier = chain.tiers[index]
        if isinstance(tier, FileTier):
            return tier
    return None


def already_there(chunk: Chunk, file: FileTier, scan: Position | None) -> set[bytes]:
    """
    Return the ids of *chunk* that stand in *file* from *scan* on.

    Raises:
        OSError: If that cannot be told now. A file that may be written and not read says
            nothing for ever; a line twice, with the same id, is the lesser evil there.
    """
    ids = {key for line in chunk.lines if (key := identify(line)) is not None}
    try:
        return file.scan(ids, scan, identify)
    except PermissionError:
        return set()
