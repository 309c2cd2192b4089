"""
A route: what happens to the records of one logger name at one level, in one function.

Rule 1: a route is made once and called for each record. What stays the same
between two records stands in its cells; merging, encoding, numbering and queueing are
written out in it, since every function called in between costs a tenth of a record.
Rule 2: what is not plain (odd values, unusual names, control keywords, a full queue,
more than one destination) leaves it for the functions that know every case.
Rule 3: taking a number and appending the line is one step, as in `Stream.send`, whose
comments say why.
Rule 4: this is the seam of the compiled call path (see `_compiled`), which does the plain
cases in C and makes the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..core.context import current, innermost
from ..core.levels import ERROR, level_name, level_tag
from ..core.line import (
    EMPTY,
    LONG,
    SCALARS,
    encode,
    escape_controls,
    format_message,
)
from ..core.timestamps import MILLISECOND, THREE_DIGITS
from ..core.values import INT_MAX, INT_MIN
from ._compiled import front
from ._receipts import DROPPED, QUEUED
from ._stream import NO_MEMORY, UNDISTURBED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.line import Fragment, LineEncoder
    from ._receipts import Receipt
    from ._stream import Stream

    Route: TypeAlias = Callable[["Log", object, tuple[object, ...], dict[str, object]], Receipt]


class Log(Protocol):
    """What a route has to know of the logger that was called."""

    _bound: tuple[LineEncoder | None, Fragment]
    """The encoder that has encoded the logger's own fields, and what it made of them."""
    _tracked: bool
    """Whether each record gets a receipt of its own."""

    def _bind_to(self, encoder: LineEncoder) -> Fragment:
        """Have the logger's own fields encoded."""

    def _emit(
        self, stream: Stream, level: int, message: object, fields: dict[str, object]
    ) -> Receipt:
        """Send a record that may need anything; what is not plain goes there."""


def make_route(stream: Stream, level: int, tag: bytes) -> Route:
    """Return the route to *stream* for records at *level* of the loggers with the name *tag*."""
    run = stream.run
    if run.settings.processors or run.settings.callsite:

        def careful(
            log: Log, message: object, args: tuple[object, ...], fields: dict[str, object]
        ) -> Receipt:
            try:
                text = format_message(message, args) if args else message
                return log._emit(stream, level, text, fields)
            except MemoryError:
                return stream.give_up(level)

        return careful
    encoder, home, time_ns = run.encoder, run.home, run.time_ns
    names = encoder.names
    numbers, prefix, send = stream.numbers, stream.prefix, stream.send
    middle = b'Z","level":%b,"logger":%b,"message":' % (level_tag(level), tag)
    # Below ERROR, and with one queue, a record is numbered and queued right here, if its
    # line fits into one place of the queue. Such a line cannot be over the limit.
    queue = stream.writers[0].queue
    entries = queue.entries
    overhead = len(b'{"timestamp":"2026-11-21T01:44:00.123456') + len(middle)
    room = min(stream.fat, encoder.limit) - overhead
    if stream.queue is None or level >= ERROR:
        room = -1

    def route(
        log: Log, message: object, args: tuple[object, ...], fields: dict[str, object]
    ) -> Receipt:
        number, line = 0, b""
        try:
            if args:
                message = format_message(message, args)
            text = own = comma = tail = b""
            try:
                if (
                    type(message) is str
                    and len(message) <= LONG
                    and (names.known.issuperset(fields) or names.learn(fields))
                ):
                    for value in fields.values():
                        kind = type(value)
                        if kind is str:
                            if len(value) > LONG:  # type: ignore[arg-type]
                                break
                        elif kind is int:
                            if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
                                break
                        elif kind not in SCALARS:
                            break
                    else:
                        owner, bound = log._bound
                        if owner is not encoder:
                            bound = log._bind_to(encoder)
                        if innermost() is None:
                            joins = bound is EMPTY or (
                                bound.keys.isdisjoint(fields) and not bound.cut
                            )
                            own = bound.data
                        else:
                            context = current(encoder)
                            joins = bound.joins(context, fields)
                            own = bound.data + context.data
                        if joins:
                            text = encode(message)
                            if 127 in text or not text.isascii():
                                text = escape_controls(text)
                            if fields:
                                comma, tail = b",", encode(fields)[1:-1]
                                if 127 in tail or not tail.isascii():
                                    tail = escape_controls(tail)
            except BaseException as error:
                if _is_foreign(error, fields):
                    raise
                # The careful functions name what is wrong, in the record.
                text = b""
            if not text:
                return log._emit(stream, level, message, fields)

            base, start = encoder.moment
            rest = time_ns() - base
            if not 0 <= rest < MILLISECOND:
                rest, start = encoder.tick(base + rest)
            micros = THREE_DIGITS[rest // 1000]
            if (
                len(text) + len(own) + len(tail) > room
                or len(entries) >= queue.limit
                or log._tracked
                or not home[0]
            ):
                body = b"".join((start, micros, middle, text, own, comma, tail))
                if len(body) > encoder.limit:
                    return log._emit(stream, level, message, fields)
                return send(body, level, log._tracked)
            try:
                for number in numbers:
                    line = b'%b%b%b%b%b%b%b%b%d"}\n' % (
                        start, micros, middle, text, own, comma, tail, prefix, number,
                    )  # fmt: skip
                    entries.append(line)
                    break
            except MemoryError:
                if not number:
                    raise
                stream.writers[0].note_drop(stream.label, number, level_name(level), NO_MEMORY)
                return DROPPED
            except BaseException:
                if number and not line:
                    body = b"".join((start, micros, middle, text, own, comma, tail))
                    entries.append(UNDISTURBED % (body, prefix, number))
                raise
            finally:
                if queue.idle:
                    queue.ring()
            return QUEUED
        except MemoryError:
            # With a number it is queued, and what failed came after that.
            return QUEUED if number else stream.give_up(level)

    return front(route, stream, level, middle)


def _is_foreign(error: BaseException, fields: dict[str, object]) -> bool:
    """
    Return whether *error* came out of a signal handler, and is the application's.

    What C functions raise has no frame but ours. What has one is Python code that they
    called: a signal handler, unless a name or the type of a value has methods of its own.
    """
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return True
    trace = error.__traceback__
    return (
        trace is not None
        and trace.tb_next is not None
        and all(type(key) is str for key in fields)
        and all(type(type(value)) is type for value in fields.values())
    )
