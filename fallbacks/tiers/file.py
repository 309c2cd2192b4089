"""
The sync file tier: one raw descriptor, opened for appending, lines written whole.

Rule 1: no Python file object; nothing is buffered here, so there is nothing to
lose at exit and nothing to repeat after a fork.
Rule 2: before each batch the file at the path is compared with the one that is
open. Whoever rotates, removes or replaces it needs no signal.
Rule 3: nothing is ever rotated or truncated here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from ..batch import Batch
from ..outcomes import Outcome
from ..position import Position
from ..system import PRIVATE_FILE, SYSTEM, System
from ..tier import Kind
from ._lines import Render, render_lines
from ._scan import Identify, lines_from, scan_file
from ._target import Target


class FileTier:
    """
    Append lines to a regular file from a thread.

    Choose it where no event loop runs, and as the twin of `AsyncFileTier` on the
    same path. Several processes may append to one file: each `write(2)` has whole
    lines, and goes to the end with `O_APPEND`.

    A batch that the disk takes in part ends in `Partial` with exactly the whole
    lines that are in the file; the line that was cut off is left behind and the
    next write starts with a newline. The same is done when the file does not end
    in one at opening. When the path cannot be reopened for want of descriptors,
    the file at hand is used on as long as it has a name.

    Args:
        path: The file; made with its missing directories (0700). It is taken as
            absolute from now on. Links, FIFOs, devices and directories are refused.
        render: Makes the bytes to write out of a line; None writes it as it is.
            What it raises leaves `write`, an Exception as a `RenderError`.
        mode: Permission bits of a new file, whatever the umask.
        name: Label in statistics and receipts.
        system: The system calls to use.
    """

    kind = Kind.FINAL

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        render: Render | None = None,
        mode: int = PRIVATE_FILE,
        name: str = "file",
        system: System = SYSTEM,
    ) -> None:
        self.name = name
        self._render = render
        self._target = Target(system, path, mode)

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._target.path

    def write(self, batch: Batch) -> Outcome:
        """
        Append *batch* and say which lines are in the file.

        Returns:
            `Delivered`; `Partial` with the whole lines written, the others
            retryable; or `Retryable` with the `OSError` when there are none.
        """
        return self._target.append(render_lines(batch, self._render))

    def position(self) -> Position | None:
        """
        Return the place behind the last write, or None while no file is open.

        Lines of other processes may stand before it; no line that this tier
        writes later does.
        """
        return self._target.position()

    def end(self) -> Position | None:
        """Return where the file at the path ends now, open or not; None when it is not there."""
        target = self._target
        try:
            facts = target.system.stat(target.path)
        except OSError:
            return None
        return Position(facts.st_dev, facts.st_ino, facts.st_size)

    def scan(
        self, ids: AbstractSet[bytes], since: Position | None, identify: Identify
    ) -> set[bytes]:
        """
        Return those of *ids* that stand in complete lines of the file.

        Args:
            ids: What to look for.
            since: Where to begin; found again by its inode in a file that was
                moved to a longer name. None reads the whole file.
            identify: Tells the id of a line (newline included), or None. It must
                know the line as *render* has written it.

        Raises:
            OSError: If the file is there and cannot be read.
        """
        return scan_file(self._target.system, self.path, ids, since, identify)

    def lines_from(self, since: Position | None, mark: bytes = b"") -> Iterator[bytes]:
        """
        Yield the complete lines of the file from *since* on, which is found as by `scan`.

        Args:
            since: Where to begin. None reads the whole file.
            mark: Lines without these bytes are not wanted; most of them are left out.

        Raises:
            OSError: If the file is there and cannot be read.
        """
        return lines_from(self._target.system, self.path, since, mark)

    def close(self) -> None:
        """Close the descriptor. Idempotent; the next `write` opens the file again."""
        self._target.close()

    def abandon(self) -> None:
        """Let go, in a forked child, of the descriptor that belongs to the parent too."""
        self._target.close()

    def __repr__(self) -> str:
        return f"<FileTier {self.name} {self.path!r}>"
