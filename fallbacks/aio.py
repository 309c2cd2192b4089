"""
The driver for an event loop: the same plan and the same chain as `Chain.run`.

Rule 1: importing this module imports anyio; nothing else in the package does.
Rule 2: an async tier runs in a task of its own, so that one which ignores its
cancellation can be left behind, unless it says that it never does; a sync tier runs
on a daemon thread.
Rule 3: whatever a tier raises is contained in its task. SystemExit reaching a
task of asyncio would end the loop, and with it every other destination.
"""

from __future__ import annotations

import math
from _thread import get_ident
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel

from .batch import Batch
from .chain import Chain, call_on_thread, part
from .delivery import Delivery
from .outcomes import Outcome, Unknown, outcome_of, outcome_of_error
from .steps import Try, Wait
from .tier import AsyncTier, Tier, is_async, is_prompt

if TYPE_CHECKING:
    from asyncio import Task

# The driver enforces deadlines itself. A watchdog steps in this many seconds
# later: then it is the loop that hangs, not the tier.
GRACE = 1.0

_CANCELLED: Final = "cancelled at its deadline"


class _Call:
    """
    One attempt under way: who waits for it, and what it was answered.

    Driver and tier may be on two threads. Whoever claims the attempt first decides
    whether its answer is one in time or a late one, so that it is always one of both.
    """

    def __init__(self, late: Callable[[Outcome], None]) -> None:
        self.done = anyio.Event()
        self.scope = anyio.CancelScope()
        self.task: Task[object] | None = None
        self.answer: Outcome | None = None
        self._late = late
        self._token = [True]

    def finish(self, answer: Outcome) -> bool:
        """Hand in the answer; return whether somebody waits for it."""
        self.answer = answer
        if self._claim():
            return True
        self._late(answer)
        return False

    def abandon(self) -> Outcome | None:
        """
        Return the answer if there is one; else leave the attempt behind and cancel it, once.

        A scope of anyio cancels again in every round of an asyncio loop, for as
        long as the task goes on waiting: a tier that ignores its cancellation
        would keep a whole processor busy.
        """
        if not self._claim():
            return self.answer
        if self.task is None:
            self.scope.cancel()
        else:
            self.task.cancel()
        return None

    def _claim(self) -> bool:
        try:
            return self._token.pop()
        except IndexError:
            return False


async def run(
    chain: Chain,
    delivery: Delivery,
    batch: Batch,
    *,
    calls: anyio.abc.TaskGroup,
    pause: Callable[[float], Awaitable[object]],
) -> bool:
    """
    Drive *delivery* of *batch* on this event loop until it is done or gives up.

    Args:
        chain: The chain; the caller holds its ticket.
        delivery: Made by `chain.plan.begin`.
        batch: The lines; *delivery* was begun with its length.
        calls: A task group that outlives this call; attempts run in it.
        pause: Async function called with seconds to wait; may return early, with
            True when somebody is waiting and the wait shall be cut short.

    Returns:
        False when the ticket was stolen meanwhile: stop, touch nothing.
    """
    chain.trying = delivery
    while True:
        now = chain.absorb()
        step = delivery.step(now)
        if isinstance(step, Try):
            chain.began = now
            section = chain.ticket.enter(now + step.seconds + GRACE)
            given = part(batch, step)
            answer = await _attempt(chain, step, given, calls)
            if not chain.ticket.leave(section):
                if answer is not None:
                    chain.late(step.tier, given, answer)
                return False
            if answer is None:
                chain.overdue(delivery, f"no answer within {step.seconds:g} s")
            else:
                chain.answered(delivery, answer)
        elif isinstance(step, Wait):
            section = chain.ticket.enter(math.inf)
            rung = await pause(step.seconds)
            if not chain.ticket.leave(section):
                return False
            if rung:
                chain.hasten()
        else:
            chain.trying = None
            return True


async def _attempt(
    chain: Chain, step: Try, batch: Batch, calls: anyio.abc.TaskGroup
) -> Outcome | None:
    """Return the answer of the tier, or None when its deadline passed and it was abandoned."""
    tier = chain.tiers[step.tier]
    if is_prompt(tier):
        return await _attempt_here(chain, step, batch, calls)
    call = _Call(partial(chain.late, step.tier, batch))
    if is_async(tier):
        calls.start_soon(_write, tier, batch, call)
    else:
        _write_on_thread(tier, batch, call)
    try:
        with anyio.move_on_after(step.seconds):
            await call.done.wait()
    except BaseException:
        # Cancelled from outside. Whoever steals the ticket will count the attempt as
        # abandoned, so an answer that is there already has become a late one.
        answer = call.abandon()
        if answer is not None:
            chain.late(step.tier, batch, answer)
        raise
    return call.abandon()


async def _attempt_here(
    chain: Chain, step: Try, batch: Batch, calls: anyio.abc.TaskGroup
) -> Outcome | None:
    """As `_attempt`, in this very task: each turn of the loop may cost the interpreter."""
    answer = None
    try:
        with anyio.move_on_after(step.seconds):
            answer = await _answer(chain.tiers[step.tier], batch, _asyncio_task())
    except BaseException:
        chain.late(step.tier, batch, Unknown(_CANCELLED))
        raise
    if answer is None:
        # Not before the attempt has been given up.
        calls.start_soon(_tell_late, chain, step.tier, batch)
    return answer


async def _tell_late(chain: Chain, tier: int, batch: Batch) -> None:
    chain.late(tier, batch, Unknown(_CANCELLED))


async def _write(tier: Tier, batch: Batch, call: _Call) -> None:
    call.task = task = _asyncio_task()
    with call.scope:
        try:
            answer = await _answer(tier, batch, task)
        except BaseException:
            if anyio.current_effective_deadline() == -math.inf:
                call.finish(Unknown(_CANCELLED))
                raise
            # Not passed on: a task group would take it for its own end.
            answer = Unknown(_CANCELLED)
        if call.finish(answer):
            call.done.set()


async def _answer(tier: Tier, batch: Batch, task: Task[object] | None) -> Outcome:
    """Return what becomes of *batch*. Only a cancellation that the tier did not make up raises."""
    try:
        return outcome_of(await cast("AsyncTier", tier).write(batch), len(batch))
    except BaseException as error:
        if isinstance(error, anyio.get_cancelled_exc_class()) and (
            anyio.current_effective_deadline() == -math.inf
            or (task is not None and task.cancelling() > 0)
        ):
            raise
        return outcome_of_error(error)


def _asyncio_task() -> Task[object] | None:
    """Return the task that runs this, if it is one of asyncio."""
    from asyncio import current_task

    try:
        return current_task()
    except RuntimeError:
        return None


def _write_on_thread(tier: Tier, batch: Batch, call: _Call) -> None:
    token = anyio.lowlevel.current_token()
    home = get_ident()

    def finished(answer: Outcome) -> None:
        if not call.finish(answer):
            return
        if get_ident() == home:
            # There was no thread to be had, and the call was made by the loop itself.
            call.done.set()
            return
        try:
            anyio.from_thread.run_sync(call.done.set, token=token)
        except RuntimeError:
            """The loop has ended, and the driver that waited is gone with it."""

    call_on_thread(tier, batch, finished)
