"""
Waiting for something that another thread will tell: on a thread, in asyncio, in trio.

Rule 1: no framework is imported here. A program that runs a loop has its framework
loaded already; one that does not never pays for it.
Rule 2: a wake-up may come from any thread and after the waiter is gone.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock, get_ident
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from fallbacks.handover import hand_over

from ._extension import NATIVE

if TYPE_CHECKING:
    from asyncio import Future

    Notify: TypeAlias = Callable[[Callable[[], object]], object]

# An awaited call gives way to other tasks when this many seconds have passed
# since it last did on the same thread.
_YIELD_EVERY: Final = 0.001
_yielded: dict[int, float] = {}
_DONE: Final[Iterator[None]] = iter(())
_seen: set[str] = set()


def running_loop() -> Literal["asyncio", "trio"] | None:
    """Return which framework runs an event loop on this very thread, if any."""
    modules = sys.modules
    if modules is None:
        # The interpreter is clearing its modules, and an object's __del__ logs.
        return None
    # A module without the name is one that another thread is just importing: no loop of
    # that framework can run yet.
    asyncio_loop = getattr(modules.get("asyncio.events"), "_get_running_loop", _none)
    if asyncio_loop() is not None:
        _seen.add("asyncio")
        return "asyncio"
    in_trio = getattr(modules.get("trio.lowlevel"), "in_trio_run", _none)
    if in_trio():
        _seen.add("trio")
        return "trio"
    return None


def _none() -> None:
    """Say that nothing runs: what is asked of a framework that is not there."""


def loop_seen() -> bool:
    """Return whether `running_loop` ever found one in this process."""
    return bool(_seen)


def wait(notify: Notify, seconds: float | None) -> bool:
    """Block this thread until told, up to *seconds*; return whether it was told."""
    try:
        lock = allocate_lock()
    except RuntimeError as error:
        raise MemoryError from error
    lock.acquire()
    notify(lambda: _release(lock))
    return lock.acquire(True, -1 if seconds is None else max(0.0, seconds))


async def wait_async(notify: Notify, seconds: float | None) -> bool:
    """As `wait`, for a task of asyncio or trio; the loop runs on meanwhile."""
    if running_loop() == "trio":
        return await _wait_trio(notify, seconds)
    return await _wait_asyncio(notify, seconds)


def gave_way() -> Iterator[object]:
    """Return what `__await__` returns for a call that has nothing to wait for."""
    now = monotonic()
    thread = get_ident()
    if now - _yielded.get(thread, 0.0) < _YIELD_EVERY:
        return _DONE
    _yielded[thread] = now
    return _give_way()


def let_way() -> None:
    """Have one awaited call give way; for a clock that strikes while records are made."""
    # Not on other threads: beside busy ones it would be theirs, for 5 ms each, before it
    # came back, and a writer gets it there by the interpreter's own rule.
    if running_loop() is not None:
        hand_over()
    _let_way(_give_way)


if TYPE_CHECKING:
    # Exported only so, to mypy.
    from ._native import Ready as Ready  # noqa: PLC0414
    from ._native import forget_way as _forget_way
    from ._native import let_way as _let_way
elif NATIVE is not None:
    Ready, _let_way, _forget_way = NATIVE.Ready, NATIVE.let_way, NATIVE.forget_way
else:
    # The next way to give, if there is one: whoever takes it out gives way.
    _ways: dict[str, Iterator[object]] = {}

    class Ready:
        """
        What can be awaited and has nothing to wait for.

        It gives way as `gave_way` does, but at the strikes of `let_way` and without running
        any Python code: most awaited calls end here, and a frame would cost a tenth of a call.
        """

        __slots__ = ()

        # Static: what is called must not be given the object.
        __await__ = staticmethod(partial(_ways.pop, "next", _DONE))

    def _let_way(give_way: Callable[[], Iterator[object]], /) -> None:
        if "next" not in _ways:
            # First a place for it, which may take memory: a generator that is given up for
            # want of any would have the interpreter complain on standard error.
            _ways["next"] = _DONE
            _ways["next"] = give_way()

    def _forget_way() -> None:
        _ways.clear()


def forget_threads() -> None:
    """Drop what is remembered per thread; the child of a fork has one thread only."""
    _forget_way()
    _yielded.clear()
    _seen.clear()


def _give_way() -> Iterator[object]:
    if running_loop() == "trio":
        yield from _checkpoint().__await__()
    else:
        yield None


def _checkpoint() -> Awaitable[None]:
    return sys.modules["trio.lowlevel"].checkpoint()  # type: ignore[no-any-return]


def _release(lock: object) -> None:
    try:
        lock.release()  # type: ignore[attr-defined]
    except RuntimeError:
        """Told twice; once is enough."""


async def _wait_asyncio(notify: Notify, seconds: float | None) -> bool:
    loop = sys.modules["asyncio.events"].get_running_loop()
    future: Future[bool] = loop.create_future()

    def resolve(told: bool) -> None:
        if not future.done():
            future.set_result(told)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(resolve, True)
        except RuntimeError:
            """The loop is closed, and the task that waited is gone with it."""

    timer = None if seconds is None else loop.call_later(max(0.0, seconds), resolve, False)
    notify(wake)
    try:
        return await future
    finally:
        if timer is not None:
            timer.cancel()


async def _wait_trio(notify: Notify, seconds: float | None) -> bool:
    trio = sys.modules["trio"]
    token = trio.lowlevel.current_trio_token()
    event = trio.Event()

    def wake() -> None:
        try:
            token.run_sync_soon(event.set)
        except trio.RunFinishedError:
            """The run is over, and the task that waited is gone with it."""

    notify(wake)
    with trio.move_on_after(float("inf") if seconds is None else max(0.0, seconds)):
        await event.wait()
    return bool(event.is_set())
