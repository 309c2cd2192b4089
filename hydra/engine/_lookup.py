"""
Looking records up in a file that may have them already.

Rule 1: however many chunks are looked up, no part of the file is read twice for the
lines of one run. Memory grows with the gaps between the ids, not with their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fallbacks.held import Ids
from fallbacks.tiers import FileTier

from ..core.ids import identify

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

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


class Lookup:
    """
    Which lines stand in one file: read as far as it has been written, each part once.

    What it has found it keeps, as intervals of numbers: a file has nearly all of them.

    Args:
        file: The file.
    """

    __slots__ = ("_at", "_file", "_found", "_mark", "_since")

    def __init__(self, file: FileTier) -> None:
        self._file = file
        self._found: Ids[bool] = Ids()
        self._mark: bytes | None = None
        self._since: Position | None = None
        self._at: Position | None = None

    def there(self, chunk: Chunk, since: Position | None) -> set[bytes]:
        """
        Return the ids of *chunk* that stand in the file from *since* on.

        Raises:
            OSError: If that cannot be told now. A file that may be written and not read says
                nothing for ever; a line twice, with the same id, is the lesser evil there.
        """
        ids = {key for line in chunk.lines if (key := identify(line)) is not None}
        mark = _run_of(ids)
        if not self._covers(mark, since):
            self._mark, self._since, self._at = mark, since, since
        # Before it is read: what is written meanwhile is for the next time.
        end = self._file.position() or self._file.end()
        found = self._found
        try:
            for line in self._file.lines_from(self._at, self._mark or b""):
                key = identify(line)
                if key is not None and key not in found:
                    found.add(key, True)
        except PermissionError:
            return set()
        self._at = end or self._at
        return {key for key in ids if key in found}

    def _covers(self, mark: bytes, since: Position | None) -> bool:
        """Return whether all that is asked for is in what has been read, or is read on from."""
        if self._mark is None or not mark.startswith(self._mark):
            return False
        begun = self._since
        if begun is None or since is None:
            return begun is since
        same = (begun.dev, begun.ino) == (since.dev, since.ino)
        return same and begun.offset <= since.offset


def _run_of(ids: Collection[bytes]) -> bytes:
    """Return what the ids of one run begin with; nothing where they are of several."""
    runs = {key.partition(b".")[0] for key in ids}
    return runs.pop() + b"." if len(runs) == 1 else b""
