"""
A tier under check: one face for both kinds, and what was seen of it.

Rule 1: the tier is made, called and closed as a chain would: what it raises is an
outcome, and an async one runs on an event loop.
Rule 2: nothing here judges, but for an answer that no chain could believe.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import count
from time import monotonic
from typing import Any, Final, Generic, TypeVar, cast

from ..batch import Batch
from ..outcomes import (
    Delivered,
    Outcome,
    Partial,
    Permanent,
    Retryable,
    Unknown,
    outcome_of,
    outcome_of_error,
    taken_of,
)
from ..tier import AsyncTier, SyncTier, Tier, is_async
from ._cases import Broken, DoesNotApply

M = TypeVar("M")
R = TypeVar("R")

Lines = Callable[[int, int], bytes]
"""Makes a line of its own for a number, of about as many bytes as it is told."""

TICK: Final = 0.001
"""Seconds between two looks at whether the event loop still turns."""
STALL: Final = 0.5
"""Seconds for which a loop that turns as it should never stands still."""

# Numbers are never used twice in a process, so that a receiver that outlives a case,
# or remembers ids, does not take new lines for old ones.
_numbers = count(1)


def plain_line(number: int, size: int) -> bytes:
    """Return a line of JSON with *number*, padded to *size* bytes."""
    head, tail = b'{"n":%d,"fill":"' % number, b'","id":"check-%d"}\n' % number
    return head + b"x" * max(0, size - len(head) - len(tail)) + tail


class Subject(Generic[M]):
    """
    One tier, made anew for each case.

    Args:
        make: Makes what is checked.
        tier_of: Makes a tier of it.
        hooks: `received`, `fail`, `hang` and `heal`, as far as the author gave them.
        lines: Makes lines.
        seconds: How long the case may take.
    """

    def __init__(
        self,
        make: Callable[[], M],
        tier_of: Callable[[M], Tier],
        hooks: dict[str, Callable[[M], Any]],
        lines: Lines,
        seconds: float,
    ) -> None:
        self.lines_of = lines
        self.seconds = seconds
        self.stall = 0.0
        """The longest time for which the event loop stood still under the tier."""
        self._make = make
        self._tier_of = tier_of
        self._hooks = hooks
        self._made: M | None = None
        self._tier: Tier | None = None
        self._runner: asyncio.Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mine: set[bytes] = set()

    # Making.

    def make(self) -> M:
        """Make one more of what is checked."""
        return self._make()

    @property
    def made(self) -> M:
        """What the author's factory returned."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def tier(self) -> Tier:
        """The tier."""
        if self._tier is None:
            self._tier = self._tier_of(self.made)
        return self._tier

    @property
    def runs_on_loop(self) -> bool:
        """Whether it is an async tier."""
        return is_async(self.tier)

    def batch(self, size: int, *, width: int = 80) -> Batch:
        """Return a batch of *size* new lines of about *width* bytes."""
        return self.of([self.lines_of(next(_numbers), width) for _ in range(size)])

    def of(self, lines: Sequence[bytes], *, duplicate: bool = False) -> Batch:
        """Return the batch of *lines*, and know them again."""
        self._mine.update(lines)
        return Batch(lines, duplicate=duplicate)

    # Calling.

    def write(self, batch: Batch) -> Outcome:
        """Return the tier's answer as a chain would take it; one that lies is a broken rule."""
        try:
            answer = self.call(batch)
        except Broken:
            raise
        except BaseException as error:
            # As the drivers do: whatever a tier raises is an outcome.
            return outcome_of_error(error)
        return honest(answer, len(batch))

    def call(self, batch: Batch) -> object:
        """Return what `write` returns and raise what it raises."""
        tier = self.tier
        if is_async(tier):
            return self.run(self._watched(cast("AsyncTier", tier).write(batch)))
        return cast("SyncTier", tier).write(batch)

    def close(self) -> None:
        """Close the tier."""
        tier = self.tier
        if is_async(tier):
            self.run(cast("AsyncTier", tier).aclose())
        else:
            cast("SyncTier", tier).close()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run *coroutine* on the case's own event loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._loop = self._runner.get_loop()
        return self._runner.run(coroutine)

    async def _watched(self, write: Coroutine[Any, Any, R]) -> R:
        task = asyncio.ensure_future(write)
        while not task.done():
            before = monotonic()
            await asyncio.wait({task}, timeout=TICK)
            self.stall = max(self.stall, monotonic() - before - TICK)
        return await task

    # What the author knows.

    def has(self, hook: str) -> bool:
        """Return whether the author gave *hook*."""
        return hook in self._hooks

    def need(self, *hooks: str) -> None:
        """Give up the case where one of *hooks* is missing."""
        missing = [hook for hook in hooks if not self.has(hook)]
        if missing:
            raise DoesNotApply(f"needs {' and '.join(missing)}")

    def fail(self) -> None:
        """Have the receiver fail from now on."""
        self._hooks["fail"](self.made)

    def hang(self) -> None:
        """Have the receiver answer nobody from now on."""
        self._hooks["hang"](self.made)

    def heal(self) -> None:
        """Have the receiver work again, and answer those who wait."""
        self._hooks["heal"](self.made)

    def received(self) -> list[bytes]:
        """Return the lines of this case that the receiver has, in order."""
        found: Iterable[bytes] = self._hooks["received"](self.made)
        return [line for line in found if line in self._mine]

    def blank_lines(self) -> int:
        """Return how many lines without anything in them the receiver has, if that is known."""
        found = self._hooks["received"](self.made) if self.has("received") else ()
        return sum(not line.strip() for line in found)

    # The end.

    def overdue(self) -> str:
        """Let go of what hangs, if the author can; return what it was."""
        loop, said = self._loop, "the tier hangs"
        if loop is not None and not loop.is_closed():
            turning = threading.Event()
            loop.call_soon_threadsafe(turning.set)
            if not turning.wait(STALL):
                said = "an async tier must never block the event loop, and this one does"
            loop.call_soon_threadsafe(_cancel_all, loop)
        if self.has("heal") and self._made is not None:
            self.heal()
        return said

    def end(self) -> None:
        """Heal the receiver and close what the case has left open; its verdict is out already."""
        try:
            if self.has("heal") and self._made is not None:
                self.heal()
            if self._tier is not None:
                self.close()
        except BaseException:
            # The cases about closing have told it.
            return
        finally:
            self.leave_loop()

    def leave_loop(self) -> None:
        """Close the event loop and what belongs to it."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            runner.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def honest(answer: object, size: int) -> Outcome:
    """Return *answer*, an outcome for *size* lines; raise `Broken` where it cannot be one."""
    if not isinstance(answer, Delivered | Partial | Retryable | Permanent | Unknown):
        raise Broken(f"write answered {answer!r}, which is no outcome")
    judged = outcome_of(answer, size)
    if isinstance(answer, Delivered | Partial) and isinstance(judged, Retryable):
        twice = isinstance(answer, Partial) and len(set(answer.indices)) < len(answer.indices)
        how = "acknowledges a line twice" if twice else "acknowledges lines it was not given"
        raise Broken(f"write {how}: {answer!r} for {size} lines")
    if isinstance(answer, Partial) and not isinstance(answer.rest, Retryable | Permanent | Unknown):
        raise Broken(f"write answered {answer.rest!r} for the other lines, which is no outcome")
    if isinstance(answer, Retryable) and answer.after != getattr(judged, "after", None):
        raise Broken(f"write asks to be tried again after {answer.after!r}, which is no time")
    return judged


def taken_from(batch: Batch, answer: Outcome) -> list[bytes]:
    """Return the lines of *batch* that *answer* says were taken."""
    return [batch[index] for index in taken_of(answer, len(batch))]
