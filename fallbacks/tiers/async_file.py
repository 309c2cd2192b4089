"""
The async file tier: the sync tier's rules, kept by aiofiles on threads of our own.

Rule 1: no call that may block is made on the event loop; looking, opening and writing
run on the executor, in one call: each way there and back waits for the interpreter twice.
Rule 2: a call that was abandoned keeps the tier out of the file until it returns.
The next write then looks at what it has left behind.
Rule 3: asyncio, aiofiles and the executor are loaded at the first write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from ..batch import Batch
from ..outcomes import Outcome, Retryable
from ..position import Position
from ..system import PRIVATE_FILE, SYSTEM, System
from ..tier import Kind
from ._append import WANTED
from ._lines import Render, render_lines
from ._scan import Identify, scan_file
from ._target import Target

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ._executor import Lane

P = ParamSpec("P")
T = TypeVar("T")


class AsyncFileTier:
    """
    Append lines to a regular file from an asyncio event loop.

    Choose it in services; it treats the file exactly as `FileTier` does, which
    says what happens to torn lines, rotated files and full disks.

    When a write is cancelled its call may go on; until it returns every further
    write answers `Retryable` at once.

    Args:
        path: The file; made with its missing directories (0700). It is taken as
            absolute from now on. Links, FIFOs, devices and directories are refused.
        render: Makes the bytes to write out of a line; None writes it as it is.
            What it raises leaves `write`, an Exception as a `RenderError`.
        mode: Permission bits of a new file, whatever the umask.
        name: Label in statistics and receipts.
        system: The system calls to use.
        executor: Where blocking calls run, one after another. None has the tier
            start a `DaemonExecutor` of its own and shut it down in `aclose`.
    """

    kind = Kind.FINAL
    prompt: Final = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        render: Render | None = None,
        mode: int = PRIVATE_FILE,
        name: str = "async_file",
        system: System = SYSTEM,
        executor: Executor | None = None,
    ) -> None:
        self.name = name
        self._render = render
        self._target = Target(system, path, mode)
        self._given = executor
        self._lane: Lane | None = None

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._target.path

    async def write(self, batch: Batch) -> Outcome:
        """
        Append *batch* and say which lines are in the file.

        Returns:
            As `FileTier.write`; `Retryable` also while an abandoned call is out.
        """
        pieces = render_lines(batch, self._render)
        lane = self._lane = self._lane or self._new_lane()
        if lane.busy:
            return Retryable(f"{self.name}: a call that was abandoned has not returned")
        from aiofiles.threadpool.binary import AsyncFileIO

        call = _Append(self._target)
        try:
            # A file to aiofiles is whatever has the methods of one, and what they take.
            file = AsyncFileIO(call, loop=None, executor=lane)  # type: ignore[arg-type]
            return cast("Outcome", await file.write(pieces))  # type: ignore[arg-type]
        except BaseException:
            call.give_up()
            raise

    def position(self) -> Position | None:
        """Return the place behind the last write, or None while no file is open."""
        return self._target.position()

    async def scan(
        self, ids: AbstractSet[bytes], since: Position | None, identify: Identify
    ) -> set[bytes]:
        """
        Return those of *ids* that stand in complete lines of the file.

        As `FileTier.scan`, read on the executor.

        Raises:
            OSError: If the file is there and cannot be read.
        """
        lane = self._lane = self._lane or self._new_lane()
        # Past the lane: a long scan is no abandoned write.
        return await _call(
            lane.executor, scan_file, self._target.system, self.path, ids, since, identify
        )

    async def aclose(self) -> None:
        """
        Close the file. Idempotent; the next `write` opens it again.

        Where an abandoned call is still in the file, that call closes it when it
        returns; this does not wait for it.

        Raises:
            OSError: If closing fails.
        """
        lane, self._lane = self._lane, None
        if lane is None:
            return
        try:
            if lane.busy:
                abandoned, self._target = self._target, self._target.fresh()
                lane.then(partial(_close_quietly, abandoned))
            else:
                await _call(lane, self._target.close)
        finally:
            if self._given is None:
                lane.executor.shutdown(wait=False)

    def abandon(self) -> None:
        """Let go, in a forked child, of the descriptor that belongs to the parent too."""
        lane, self._lane = self._lane, None
        if lane is not None and self._given is None:
            lane.executor.shutdown(wait=False)
        self._target.close()

    def _new_lane(self) -> Lane:
        from ._executor import DaemonExecutor, Lane

        return Lane(self._given or DaemonExecutor(name=f"{self.name}-io"))

    def __repr__(self) -> str:
        return f"<AsyncFileTier {self.name} {self.path!r}>"


async def _call(executor: Executor, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    from asyncio import get_running_loop

    return await get_running_loop().run_in_executor(executor, partial(fn, *args, **kwargs))


class _Append:
    """One append, as aiofiles makes it: the `write` of a file."""

    def __init__(self, target: Target) -> None:
        self._wanted = bytearray(WANTED)
        self._target = target

    def write(self, pieces: Sequence[bytes]) -> Outcome:
        return self._target.append(pieces, self._wanted)

    def give_up(self) -> None:
        """Have it end without writing, if it is not writing yet."""
        self._wanted[0] = 0


def _close_quietly(target: Target) -> None:
    try:
        target.close()
    except OSError:
        # The lines were reported as unknown long ago, and nobody is left to tell.
        return
