"""
Tiers that fail as they are told to: a script of answers, errors and hangs.

Rule 1: the script is used up from the front; when it is empty the tier is healthy.
Rule 2: `taken` holds the lines that the tier has said it took, so that a test can
compare what was claimed with what was counted. After `Unknown` nothing is claimed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..batch import Batch
from ..outcomes import DELIVERED, Delivered, Outcome, Partial
from ..tier import Kind


@dataclass(frozen=True, slots=True)
class Hang:
    """Block until `release`, then do *then*."""

    then: Outcome | BaseException | type[BaseException] = DELIVERED


HANG: Final = Hang()
"""Block until `release`, then take all lines."""

Step: TypeAlias = Outcome | BaseException | type[BaseException] | Hang | object
"""What one `write` does; anything that is no outcome and no exception is returned as it is."""


class _Script:
    """What both tiers share: the script and the record of what happened."""

    def __init__(
        self,
        script: Iterable[Step] = (),
        *,
        name: str = "faulty",
        kind: Kind = Kind.FINAL,
    ) -> None:
        self.name = name
        self.kind = kind
        self.batches: list[Batch] = []
        self.taken: list[bytes] = []
        self.closed = 0
        self._script: deque[Step] = deque(script)
        self._always: Step = DELIVERED
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], object]] = []

    @property
    def hanging(self) -> int:
        """How many calls hang now."""
        return len(self._waiting)

    def fail_with(self, step: Step) -> None:
        """Forget the script and do *step* at every write until `heal`."""
        self._script.clear()
        self._always = step

    def heal(self) -> None:
        """Forget the script, release what hangs and take all lines from now on."""
        self.fail_with(DELIVERED)
        self.release()

    def release(self) -> None:
        """Let every call that hangs now go on. Any thread may call it."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def _next(self, batch: Batch) -> Step:
        self.batches.append(batch)
        return self._script.popleft() if self._script else self._always

    def _hang(self, wake: Callable[[], object]) -> None:
        with self._lock:
            self._waiting.append(wake)

    def _stop_hanging(self, wake: Callable[[], object]) -> None:
        with self._lock:
            if wake in self._waiting:
                self._waiting.remove(wake)

    def _answer(self, step: Step, batch: Batch) -> Outcome:
        if isinstance(step, BaseException) or (
            isinstance(step, type) and issubclass(step, BaseException)
        ):
            raise step
        if isinstance(step, Delivered):
            self.taken += batch.lines[: step.prefix]
        elif isinstance(step, Partial):
            self.taken += [batch.lines[i] for i in step.indices]
        # A test may have the tier lie about its type.
        return step  # type: ignore[return-value]


class FaultyTier(_Script):
    """
    A sync tier that follows a script.

    Args:
        script: For each write one of: an outcome to answer, an exception to raise,
            `HANG` or a `Hang`. Any other object is answered as it is.
        name: Label in statistics and receipts.
        kind: Whether taken lines are delivered or held.
    """

    def write(self, batch: Batch) -> Outcome:
        """Do the next step of the script."""
        step = self._next(batch)
        if isinstance(step, Hang):
            event = threading.Event()
            self._hang(event.set)
            event.wait()
            step = step.then
        return self._answer(step, batch)

    def close(self) -> None:
        """Count the call in `closed`."""
        self.closed += 1

    def __repr__(self) -> str:
        return f"<FaultyTier {self.name} [{len(self._script)} steps]>"


class FaultyAsyncTier(_Script):
    """
    An async tier that follows a script, on asyncio and trio.

    Args:
        script: As for `FaultyTier`.
        name: Label in statistics and receipts.
        kind: Whether taken lines are delivered or held.
    """

    async def write(self, batch: Batch) -> Outcome:
        """Do the next step of the script; a hanging one can be cancelled."""
        step = self._next(batch)
        if isinstance(step, Hang):
            await self._wait()
            step = step.then
        return self._answer(step, batch)

    async def aclose(self) -> None:
        """Count the call in `closed`."""
        self.closed += 1

    async def _wait(self) -> None:
        import anyio

        event = anyio.Event()
        home = threading.get_ident()
        call_soon = _call_soon()

        def wake() -> None:
            if threading.get_ident() == home:
                event.set()
            else:
                call_soon(event.set)

        self._hang(wake)
        try:
            await event.wait()
        finally:
            self._stop_hanging(wake)

    def __repr__(self) -> str:
        return f"<FaultyAsyncTier {self.name} [{len(self._script)} steps]>"


def _call_soon() -> Callable[[Callable[[], None]], object]:
    """Return what has the running loop call something, from any thread."""
    import asyncio

    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
