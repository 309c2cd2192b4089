"""
Tiers made of functions: any callable that takes a list of lines is a sink.

Rule 1: what the callable raises leaves `write`, whatever it is; the driver of the
chain makes an outcome of it.
Rule 2: None means that all lines were taken. Any other answer is passed on as it
is, for `fallbacks.outcomes.outcome_of` to judge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, cast

from ..batch import Batch
from ..handover import waived
from ..outcomes import DELIVERED, Outcome
from ..tier import AsyncTier, Kind, SyncTier, Tier

# inspect.CO_COROUTINE, without the price of importing its module.
_CO_COROUTINE: Final = 0x80


class CallableTier:
    """
    Hand lines to a function. Choose it for a sink that is called on a thread.

    Args:
        fn: Called with a new list of lines, each of them bytes with its newline.
            Returns None when it has them all, or an `Outcome`.
        name: Label in statistics and receipts; None takes the function's own name.
    """

    kind = Kind.FINAL

    def __init__(self, fn: Callable[[list[bytes]], object], *, name: str | None = None) -> None:
        self.name = name or _name_of(fn)
        self._fn = fn

    def write(self, batch: Batch) -> Outcome:
        """
        Call the function and return its answer.

        Raises:
            TypeError: If the answer is an awaitable, which nobody here can await.
        """
        with waived():
            answer = self._fn(list(batch.lines))
        if answer is None:
            return DELIVERED
        if hasattr(answer, "__await__"):
            if hasattr(answer, "close"):
                # Or Python warns that it was never awaited, to no one's use.
                answer.close()
            raise TypeError(f"{self.name} returned an awaitable; wrap it in AsyncCallableTier")
        return cast("Outcome", answer)

    def close(self) -> None:
        """Do nothing: the function belongs to whoever gave it."""

    def __repr__(self) -> str:
        return f"<CallableTier {self.name}>"


class AsyncCallableTier:
    """
    Hand lines to a coroutine function, or to any that returns an awaitable.

    Args:
        fn: As for `CallableTier`; what it returns is awaited where it can be.
        name: Label in statistics and receipts; None takes the function's own name.
    """

    kind = Kind.FINAL

    def __init__(self, fn: Callable[[list[bytes]], object], *, name: str | None = None) -> None:
        self.name = name or _name_of(fn)
        self._fn = fn

    async def write(self, batch: Batch) -> Outcome:
        """Call the function, await what it returns and return the answer."""
        with waived():
            answer = self._fn(list(batch.lines))
            if hasattr(answer, "__await__"):
                answer = await cast("Awaitable[object]", answer)
        return DELIVERED if answer is None else cast("Outcome", answer)

    async def aclose(self) -> None:
        """Do nothing: the function belongs to whoever gave it."""

    def __repr__(self) -> str:
        return f"<AsyncCallableTier {self.name}>"


def tier_from(sink: object, *, name: str | None = None) -> Tier:
    """
    Return the tier that *sink* is, or that stands for it.

    Args:
        sink: A tier, which is returned as it is; or a callable that takes a list
            of lines. A coroutine function, a method, a partial or an object whose
            `__call__` is one becomes an `AsyncCallableTier`.
        name: Label for a callable; a tier has its own.

    Raises:
        TypeError: If it is neither. A class is neither: an instance is wanted.
    """
    if isinstance(sink, type):
        raise TypeError(f"{_ACCEPTED}, not the class {sink.__name__}; pass an instance")
    is_async = hasattr(sink, "aclose")
    # A mock has every attribute there is; only a tier has a kind that is a Kind.
    if isinstance(sink, AsyncTier if is_async else SyncTier) and isinstance(sink.kind, Kind):
        if is_async is not is_coroutine_function(sink.write):
            raise TypeError(
                f"{type(sink).__name__} mixes the two kinds of tier: an async one has "
                "async write and aclose, a sync one has plain write and close"
            )
        return sink
    if not callable(sink):
        raise TypeError(f"{_ACCEPTED}, not {type(sink).__name__}")
    if is_coroutine_function(sink):
        return AsyncCallableTier(sink, name=name)
    return CallableTier(sink, name=name)


_ACCEPTED: Final = (
    "a sink is a tier (name, kind, write, and close or aclose) or a callable, "
    "sync or async, that takes a list of lines"
)


def is_coroutine_function(fn: object) -> bool:
    """Return whether calling *fn* gives a coroutine, as far as its code tells."""
    fn = _inner(fn)
    if not hasattr(fn, "__code__"):
        fn = _inner(getattr(type(fn), "__call__", fn))  # noqa: B004 - its code is wanted
    return bool(getattr(getattr(fn, "__code__", None), "co_flags", 0) & _CO_COROUTINE)


def _inner(fn: object) -> object:
    """Return the function within partials and bound methods."""
    while True:
        if isinstance(fn, partial):
            fn = fn.func
        elif hasattr(fn, "__func__"):
            fn = fn.__func__
        else:
            return fn


def _name_of(fn: object) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    name = getattr(fn, "__name__", type(fn).__name__)
    return "callable" if name == "<lambda>" else str(name)
