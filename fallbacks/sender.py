"""
Senders: a chain with its held store as one thing that takes lines.

Rule 1: a call returns when every line of it is accounted for in its `Sent`.
Rule 2: a tier that does not answer in time is left behind, on a thread as on a loop.
Rule 3: nothing runs between the calls. Whoever sends decides when to replay.
"""

from __future__ import annotations

import time
from _thread import allocate_lock, start_new_thread
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ._sending import Desk, Sent, total
from .chain import Chain
from .held import HeldStore
from .tier import AsyncTier, SyncTier, Tier, is_async

if TYPE_CHECKING:
    from anyio import Lock
    from anyio.abc import TaskGroup

    from .batch import Batch
    from .delivery import Delivery

# Seconds between two looks at a tier that is at work; an answer is seen at once.
_LOOK: Final = 0.05
_OVERDUE: Final = "no answer in time"
# Seconds that closing may take when the caller was cancelled or has failed.
_CLOSING: Final = 5.0


class _Counted:
    """What both senders tell about their lines."""

    _desk: Desk

    @property
    def held(self) -> int:
        """How many lines wait for replay."""
        return self._desk.held

    @property
    def repairing(self) -> int:
        """How many delivered lines wait for a copy that missed them, once for each copy."""
        return self._desk.repairing

    @property
    def missed(self) -> int:
        """How many delivered lines a copy missed and will never get, once for each copy."""
        return self._desk.missed


class Sender(_Counted):
    """
    Send lines through a chain from a thread, and replay what was held meanwhile.

    Choose it to deliver anything that is a line (an event, a message, a job) without
    an engine around it. Any thread may call it; calls are served one after another.
    Each call drives the chain on a thread of its own, so that a tier which hangs is
    left behind at its deadline.

    Args:
        chain: Where lines go. Its async tiers are passed over.
        store: The holding tier of *chain* that `replay` empties, beside the repair
            stores of its copies; None: it has none.

    Raises:
        ValueError: If *chain* has no sync tier, or *store* is no tier of it, or a
            repair store.
    """

    def __init__(self, chain: Chain, *, store: HeldStore | None = None) -> None:
        self._desk = Desk(chain, store, chain.sync_tiers)
        self._chain = chain

    def send(self, lines: Sequence[bytes], *, timeout: float = 5.0) -> Sent:
        """
        Send *lines*, in order; try again and fall back as the chain says.

        Args:
            lines: Each with its newline.
            timeout: Seconds to wait, between attempts, for a tier that takes them.
                What no tier has taken then comes back in `Sent.left`.
        """
        chain, desk = self._chain, self._desk
        chain.ticket.acquire()
        try:
            batch, delivery = desk.begin(lines)
            end = time.monotonic() + timeout

            def pause(seconds: float) -> None:
                if time.monotonic() + seconds > end:
                    desk.hurry(delivery)
                else:
                    time.sleep(seconds)

            self._drive(delivery, batch, pause)
            return desk.sent(batch, delivery)
        finally:
            chain.ticket.release()

    def replay(self) -> Sent:
        """
        Send held lines to the destination until it fails, or none is held.

        With a strategy of several copies they go to every copy that lacks them, and
        each copy gets what its repair store has kept for it.

        Returns:
            What was delivered, what the destination rejects for good (no longer
            held), and in `held` how many lines still wait. What a copy had missed
            was delivered before and does not count. While the destination
            rests after failures nothing is tried; `Chain.hasten` ends the rest.

        Raises:
            OSError: If the store cannot be read.
        """
        chain, desk = self._chain, self._desk
        parts: list[Sent] = []
        chain.ticket.acquire()
        try:
            for debt in desk.debts:
                while (errand := desk.next_errand(debt)) is not None:
                    self._drive(errand.delivery, errand.batch, time.sleep)
                    part = desk.finish(errand)
                    if part is None:
                        break
                    parts.append(part)
        finally:
            chain.ticket.release()
        return total(parts, desk.held)

    def close(self) -> None:
        """
        Close the sync tiers; what is held stays for the next start. Idempotent.

        Raises:
            ExceptionGroup: If tiers raise; the others are closed all the same.
        """
        errors: list[Exception] = []
        self._chain.ticket.acquire()
        try:
            for tier in self._chain.tiers:
                if not is_async(tier):
                    _close(tier, errors)
        finally:
            self._chain.ticket.release()
        _raise(errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _drive(self, delivery: Delivery, batch: Batch, pause: Callable[[float], object]) -> None:
        while not self._run(delivery, batch, pause):
            """A tier was left behind, and the delivery goes on without it."""

    def _run(self, delivery: Delivery, batch: Batch, pause: Callable[[float], object]) -> bool:
        """Drive *delivery* on a thread; return False when that was left behind in a tier."""
        chain = self._chain
        done = allocate_lock()
        done.acquire()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                chain.run(delivery, batch, pause)
            except BaseException as error:
                errors.append(error)
            finally:
                done.release()

        try:
            start_new_thread(work, ())
        except RuntimeError:
            # No thread is to be had: late is better than not at all.
            work()
        try:
            while not done.acquire(timeout=_LOOK):
                section = chain.ticket.section
                late = section is not None and chain.clock.monotonic() >= section.deadline
                if late and chain.expire(_OVERDUE):
                    return False
        except BaseException:
            # Ctrl-C: whoever sends next must not meet this thread in the chain.
            while not done.acquire(timeout=_LOOK) and not chain.expire("interrupted"):
                """Between two calls there is nothing to take the chain away from."""
            raise
        if errors:
            raise errors[0]
        return True

    def __repr__(self) -> str:
        return f"<Sender [{len(self._chain.tiers)} tiers, {self.held} lines held]>"


class AsyncSender(_Counted):
    """
    `Sender` for an event loop of asyncio or trio; use it with `async with`.

    Async tiers run on the loop, sync ones on threads, and so does the store: no call
    blocks the loop. Calls are served one after another, in order.

    Args:
        chain: Where lines go.
        store: See `Sender`.

    Raises:
        ValueError: If *store* is no tier of *chain*, or a repair store.
    """

    def __init__(self, chain: Chain, *, store: HeldStore | None = None) -> None:
        self._desk = Desk(chain, store, range(len(chain.tiers)))
        self._chain = chain
        self._calls: TaskGroup | None = None
        self._turn: Lock | None = None

    async def send(self, lines: Sequence[bytes], *, timeout: float = 5.0) -> Sent:
        """
        As `Sender.send`. Cancelling it leaves unknown which of the lines were taken.

        Raises:
            RuntimeError: Outside of `async with`, or while the chain is used elsewhere.
        """
        import anyio

        desk = self._desk
        async with self._turn_of():
            batch, delivery = desk.begin(lines)
            end = anyio.current_time() + timeout

            async def pause(seconds: float) -> None:
                if anyio.current_time() + seconds > end:
                    desk.hurry(delivery)
                else:
                    await anyio.sleep(seconds)

            await self._drive(delivery, batch, pause)
            return desk.sent(batch, delivery)

    async def replay(self) -> Sent:
        """
        As `Sender.replay`.

        Raises:
            OSError: If the store cannot be read.
            RuntimeError: As `send`.
        """
        import anyio
        from anyio.to_thread import run_sync

        desk = self._desk
        parts: list[Sent] = []
        async with self._turn_of():
            for debt in desk.debts:
                while (errand := await run_sync(desk.next_errand, debt)) is not None:
                    await self._drive(errand.delivery, errand.batch, anyio.sleep)
                    part = await run_sync(desk.finish, errand)
                    if part is None:
                        break
                    parts.append(part)
        return total(parts, desk.held)

    async def aclose(self) -> None:
        """
        Close every tier; what is held stays for the next start. Idempotent.

        Raises:
            ExceptionGroup: If tiers raise; the others are closed all the same.
        """
        from anyio.to_thread import run_sync

        errors: list[Exception] = []
        for tier in self._chain.tiers:
            if is_async(tier):
                await _aclose(tier, errors)
            else:
                await run_sync(partial(_close, tier, errors))
        _raise(errors)

    async def __aenter__(self) -> Self:
        import anyio

        self._turn = anyio.Lock()
        self._calls = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import anyio

        calls, self._calls = self._calls, None
        try:
            # Who is cancelled closes too, but does not wait for ever.
            with anyio.move_on_after(_CLOSING, shield=True):
                await self.aclose()
        finally:
            if calls is not None:
                calls.cancel_scope.cancel()
                # Without the error: it goes on by itself, not in a group of its own.
                await calls.__aexit__(None, None, None)

    @asynccontextmanager
    async def _turn_of(self) -> AsyncIterator[None]:
        """Be the one who uses the chain."""
        if self._turn is None or self._calls is None:
            raise RuntimeError("an AsyncSender works inside of its `async with`")
        ticket = self._chain.ticket
        async with self._turn:
            if not ticket.acquire(0):
                raise RuntimeError("the chain is in use elsewhere")
            try:
                yield
            finally:
                # Where a call was cancelled in a tier, that one is busy until it has stopped.
                self._chain.expire("cancelled")
                ticket.release()

    async def _drive(
        self, delivery: Delivery, batch: Batch, pause: Callable[[float], Awaitable[object]]
    ) -> None:
        from .aio import run

        assert self._calls is not None
        while not await run(self._chain, delivery, batch, calls=self._calls, pause=pause):
            """A tier was left behind, and the delivery goes on without it."""

    def __repr__(self) -> str:
        return f"<AsyncSender [{len(self._chain.tiers)} tiers, {self.held} lines held]>"


def _close(tier: Tier, errors: list[Exception]) -> None:
    assert isinstance(tier, SyncTier)
    try:
        tier.close()
    except Exception as error:
        errors.append(error)


async def _aclose(tier: Tier, errors: list[Exception]) -> None:
    assert isinstance(tier, AsyncTier)
    try:
        await tier.aclose()
    except Exception as error:
        errors.append(error)


def _raise(errors: list[Exception]) -> None:
    if errors:
        raise ExceptionGroup("tiers that could not be closed", errors)
