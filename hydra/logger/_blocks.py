"""
Around code: log what leaves a block, and how long it took.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar, cast

from ..core.levels import ERROR

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from ._logger import Logger

F = TypeVar("F", bound=Callable[..., object])

# Set in the flags of a code object that makes one of these; asked here, since the
# module `inspect` costs more to import than everything else in this room.
_GENERATOR: Final = 0x20
_COROUTINE: Final = 0x80
_ASYNC_GENERATOR: Final = 0x200


class Catch:
    """See `Logger.catch`: a decorator and a context manager."""

    def __init__(
        self, log: Logger, level: int, message: str, *, reraise: bool, default: object
    ) -> None:
        self._log = log
        self._level = level
        self._message = message
        self._reraise = reraise
        self._default = default

    def __call__(self, function: F) -> F:
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & _GENERATOR:

            @wraps(function)
            def guarded_generator(
                *args: object, **kwargs: object
            ) -> Generator[object, object, object]:
                with self:
                    inner = cast("Generator[object, object, object]", function(*args, **kwargs))
                    return (yield from inner)
                return self._default

            return cast("F", guarded_generator)

        if flags & _ASYNC_GENERATOR:

            @wraps(function)
            async def guarded_async_generator(
                *args: object, **kwargs: object
            ) -> AsyncGenerator[object, object]:
                with self:
                    inner = cast("AsyncGenerator[object, object]", function(*args, **kwargs))
                    step = anext(inner)
                    while True:
                        try:
                            value = await step
                        except StopAsyncIteration:
                            return
                        try:
                            step = inner.asend((yield value))
                        except GeneratorExit:
                            await inner.aclose()
                            raise
                        except BaseException as error:
                            # Thrown in from outside, whatever it is: it is the body's to handle.
                            step = inner.athrow(error)

            return cast("F", guarded_async_generator)

        if flags & _COROUTINE:

            @wraps(function)
            async def guarded_async(*args: object, **kwargs: object) -> object:
                with self:
                    return await cast("Awaitable[object]", function(*args, **kwargs))
                return self._default

            return cast("F", guarded_async)

        @wraps(function)
        def guarded(*args: object, **kwargs: object) -> object:
            with self:
                return function(*args, **kwargs)
            return self._default

        return cast("F", guarded)

    def __enter__(self) -> None:
        """Nothing to prepare: one object may guard many blocks at once."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self._log.log(self._level, self._message, exc_info=error)
        return not self._reraise


class Timed:
    """See `Logger.timed`: a context manager."""

    def __init__(self, log: Logger, event: str, level: int, fields: dict[str, object]) -> None:
        self._log = log
        self._event = event
        self._level = level
        self._fields = fields
        self._began = 0.0

    def __enter__(self) -> dict[str, object]:
        self._began = perf_counter()
        return self._fields

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        took = round(perf_counter() - self._began, 6)
        # The block was free to put anything into it.
        given = cast("dict[object, object]", self._fields)
        fields = {key: value for key, value in list(given.items()) if isinstance(key, str)}
        level = self._level if error is None else max(self._level, ERROR)
        self._log.log(
            level,
            self._event,
            exc_info=error,
            extra={**fields, "duration_seconds": took},
        )
