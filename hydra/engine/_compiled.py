"""
The compiled call path: where there is one, it stands in front of the Python functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from mmap import mmap
from typing import TYPE_CHECKING, Final, TypeVar

from ..core.context import variable
from ..core.levels import ERROR, level_name
from ..core.line import EMPTY, encode
from ._extension import NATIVE
from ._receipts import DROPPED, FILTERED, QUEUED
from ._stream import NO_MEMORY

if TYPE_CHECKING:
    from ._route import Route
    from ._stream import Stream

Method = TypeVar("Method", bound=Callable[..., object])

COMPILED: Final = NATIVE is not None
"""Whether there is a compiled call path in this process."""


def level_method(level: int) -> Callable[[Method], Method]:
    """Return a decorator that puts the compiled call in front of a logger's method for *level*."""

    def decorate(method: Method) -> Method:
        if NATIVE is None:
            return method
        return NATIVE.LevelMethod(method, level, FILTERED)  # type: ignore[return-value]

    return decorate


def front(route: Route, stream: Stream, level: int, middle: bytes) -> Route:
    """
    Return *route* with the compiled one in front of it, where there is one.

    Args:
        route: The function that knows every case.
        stream: Where its records go.
        level: Their level.
        middle: What stands between the time and the message of their lines.
    """
    run, queues = stream.run, stream.queues
    if NATIVE is None:
        return route
    if len(queues) > NATIVE.MOST_QUEUES or not isinstance(run.home, mmap):
        return route
    encoder = run.encoder

    def lost(number: int, place: int) -> None:
        stream.writers[place].note_drop(stream.label, number, level_name(level), NO_MEMORY)

    return NATIVE.Route(
        careful=route,
        encoder=encoder,
        names=encoder.names,
        encode=encode,
        context=variable,
        time_ns=run.time_ns,
        middle=middle,
        prefix=stream.prefix,
        numbers=stream.numbers,
        queues=queues,
        entries=tuple(queue.entries for queue in queues),
        appends=tuple(queue.entries.append for queue in queues),
        # What is guaranteed goes through the journal first. All else is queued at once.
        send=partial(stream.send, level=level) if level >= ERROR else None,
        room=encoder.limit,
        lost=lost,
        empty=EMPTY,
        queued=QUEUED,
        dropped=DROPPED,
        home=run.home,
    )
