"""
The engine's own event loop: one daemon thread that serves chains with async tiers.

Rule 1: it is started only when a destination needs it: an async sink is
configured, or the process is seen to run an event loop of its own.
Rule 2: anyio, uvloop and what they import are loaded on its thread, never on a
caller's; until it is ready, the writer's thread does the work.
Rule 3: it never touches another event loop.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from fallbacks.handover import claim
from fallbacks.tier import AsyncTier, is_async

from ._service import LINGER, Mode
from ._waiting import loop_seen

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    import anyio
    import anyio.abc

    from fallbacks.meter import Meter
    from fallbacks.tier import Tier

    from ._service import Service

# Seconds between attempts to get a ticket that a helping caller holds.
_TICKET_EVERY: Final = 0.001

# Seconds that an async tier gets to close.
_CLOSE: Final = 1.0


class EngineLoop:
    """Serves writers as tasks. Made once per run; starts at the first `wants`."""

    def __init__(self, draining: set[int]) -> None:
        self.required = False
        """Set when a chain can be served by a loop only: its sink is async."""
        self.failure: BaseException | None = None
        """Why the loop could not start or ended, if it did; doctor shows it."""
        self.ident: int | None = None
        self._draining = draining
        self._ready = False
        self._starting = False
        self._stopped = False
        self._arrivals: deque[Service] = deque()
        self._waiting: deque[Service] = deque()
        self._served: set[Service] = set()
        self._call_soon: Callable[[Callable[[], object]], object] | None = None
        self._stop: anyio.Event | None = None
        self._event: anyio.Event | None = None

    def wants(self, service: Service) -> bool:
        """Return whether *service* should move here now; starts the loop if it is needed."""
        if self.failure is not None or self._stopped or not (self.required or loop_seen()):
            return False
        if not self._ready:
            self._waiting.append(service)
            if not self._starting:
                self._start()
        return self._ready

    def take_over(self, service: Service) -> None:
        """Serve *service* from now on; called by its thread, which then ends."""
        # Watched already on its way: a loop that hangs would never begin to serve it.
        service.ring_with(service.rung)
        service.rung()
        self._arrivals.append(service)
        if not self.call(self._announce):
            service.return_to_thread()
        service.stay_closed()

    def stop(self) -> None:
        """End the loop and its thread, after the tasks have nothing left to do."""
        # First the mark: a loop that is just being started reads it when it is ready.
        self._stopped = True
        self.call(self._set_stop)

    def _start(self) -> None:
        import threading

        self._starting = True
        try:
            threading.Thread(target=self._main, name="hydra-loop", daemon=True).start()
        except RuntimeError as error:
            self.failure = error

    def _main(self) -> None:
        self.ident = get_ident()
        self._draining.add(self.ident)
        try:
            # All of it now: what the first batch imported might be imported at exit.
            import aiofiles.threadpool  # noqa: F401
            import anyio.from_thread

            import fallbacks.aio
            import fallbacks.tiers._executor  # noqa: F401

            options: dict[str, Any] = {"use_uvloop": _has_uvloop()}
            anyio.run(self._serve_all, backend="asyncio", backend_options=options)
        except BaseException as error:
            self.failure = error
        finally:
            self._ready = False
            self._draining.discard(self.ident)
            self.ident = None
            self._starting = False
            while self._arrivals:
                self._arrivals.popleft().return_to_thread()
            for service in list(self._served):
                service.loop_ended(self)
            self._ring_waiting()

    async def _serve_all(self) -> None:
        import asyncio

        import anyio

        loop = asyncio.get_running_loop()
        self._call_soon = loop.call_soon_threadsafe
        self._stop = anyio.Event()
        self._event = anyio.Event()
        async with anyio.create_task_group() as calls:
            async with anyio.create_task_group() as tasks:
                self._ready = True
                if self._stopped:
                    self._stop.set()
                self._ring_waiting()
                while not self._stop.is_set():
                    while self._arrivals:
                        tasks.start_soon(self._serve, self._arrivals.popleft(), calls)
                    await self._event.wait()
                    self._event = anyio.Event()
                tasks.cancel_scope.cancel()
            for service in list(self._served):
                await _close_tiers(service, calls)
            # A task that has not begun would leave its coroutine unawaited.
            await asyncio.sleep(0)
            # Each once, and not by the scope of the group, which would cancel again
            # in every round of the loop for as long as a sink ignores it.
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    def _ring_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().queue.ring()

    async def _serve(self, service: Service, calls: anyio.abc.TaskGroup) -> None:
        self._served.add(service)
        try:
            await _Task(self, service).serve(calls)
        except Exception:
            # A bug of ours must cost neither the loop nor the destination.
            service.crashes += 1
            service.return_to_thread()

    def _announce(self) -> None:
        assert self._event is not None
        self._event.set()

    def _set_stop(self) -> None:
        assert self._stop is not None
        self._stop.set()
        self._announce()

    def call(self, function: Callable[[], object]) -> bool:
        """Have *function* called on the loop; return False when there is no loop any more."""
        if self._call_soon is None or not self._ready:
            return False
        try:
            self._call_soon(function)
        except RuntimeError:
            return False
        return True


class _Task:
    """One writer served as a task: the same life as `Service._serve`, with awaits."""

    def __init__(self, loop: EngineLoop, service: Service) -> None:
        import anyio

        self._anyio = anyio
        self._loop = loop
        self._service = service
        self._rung = False
        self._waiter: Future[None] | None = None

    def ring(self) -> None:
        """Wake the task; called by producers."""
        service = self._service
        service.queue.idle = False
        try:
            service.rung()
            # As in `Service._ring_thread`.
            claim(LINGER)
            if not self._loop.call(self._set):
                service.return_to_thread()
        except BaseException:
            # As in `Service._ring_thread`.
            service.queue.idle = True
            raise
        service.stay_closed()

    def _set(self) -> None:
        # Here, and not where the task wakes up: it may be in the middle of a long
        # drain, and what a ring tells is whether the loop lives.
        self._service.heard()
        self._rung = True
        if self._waiter is not None:
            _wake(self._waiter)

    async def serve(self, calls: anyio.abc.TaskGroup) -> None:
        service = self._service
        queue, writer, ticket = service.queue, service.writer, service.chain.ticket
        service.ring_with(self.ring)
        service.stay_closed()
        service.heard()
        while service.mode is Mode.LOOP:
            idle = service.declare_idle()
            if idle and not service.closing:
                await self._wait(writer.wait())
            queue.idle = False
            if len(queue.entries) < queue.low_water and not service.closing:
                writer.claim(LINGER)
                await self._wait(LINGER)
            service.heard()
            while not ticket.acquire(0):
                await self._anyio.sleep(_TICKET_EVERY)
            if service.closed or service.mode is not Mode.LOOP:
                service.bow_out()
                return
            if not await self._drain(calls, patient=True):
                return
            if (idle or service.due) and service.closing:
                await self._close(calls)
                return
            ticket.release()

    async def _close(self, calls: anyio.abc.TaskGroup) -> None:
        service = self._service
        spiller, give_up = service.writer.spiller, monotonic() + _CLOSE
        while spiller is not None and spiller.busy and monotonic() < give_up:
            await self._anyio.sleep(_TICKET_EVERY)
        alive = await self._drain(calls, patient=False, final=True)
        if alive and service.prepare_close():
            alive = await self._drain(calls, patient=False, final=True)
        if alive:
            section = service.chain.ticket.enter(inf)
            await _close_tiers(service, calls)
            alive = service.chain.ticket.leave(section)
        if alive:
            service.close_with_ticket()

    async def _drain(
        self, calls: anyio.abc.TaskGroup, *, patient: bool, final: bool = False
    ) -> bool:
        from fallbacks import aio

        writer, chain = self._service.writer, self._service.chain
        queue = self._service.queue
        if final:
            # As in `Hands._drain`, and further down as well.
            chain.hasten()
        while (job := writer.next_job(None, patient=patient, replay=not final)) is not None:
            if not await aio.run(chain, job.delivery, job.batch, calls=calls, pause=self._wait):
                return False
            if not writer.finish(job, final=final):
                if final:
                    writer.abandon_rest()
                break
            if self._service.due or (patient and 0 < len(queue.entries) < queue.low_water):
                break
        return True

    async def _wait(self, seconds: float | None) -> bool:
        """Wait to be rung, up to *seconds*; return whether it was."""
        if not self._rung:
            # With a future and a timer of asyncio: twice per batch, a scope that is cancelled
            # would cost more than the rest of the task.
            from asyncio import get_running_loop

            loop = get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = None if seconds is None else loop.call_later(seconds, _wake, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        rung, self._rung = self._rung, False
        return rung


def _wake(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _close_tiers(service: Service, calls: anyio.abc.TaskGroup) -> None:
    """Close the async tiers of *service*, once; one that takes too long is left behind."""
    import anyio

    if service.async_closed:
        return
    service.async_closed = True
    chain = service.chain
    for tier, meter in zip(chain.tiers, chain.meters, strict=True):
        if is_async(tier):
            done = anyio.Event()
            calls.start_soon(_close_tier, tier, meter, done)
            with anyio.move_on_after(_CLOSE):
                await done.wait()


async def _close_tier(tier: Tier, meter: Meter, done: anyio.Event) -> None:
    assert isinstance(tier, AsyncTier)
    try:
        await tier.aclose()
    except BaseException as error:
        # As for its write: whatever a sink raises is its own affair.
        meter.fail(error)
    finally:
        done.set()


def _has_uvloop() -> bool:
    if sys.platform == "win32":
        return False
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True
