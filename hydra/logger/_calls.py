"""
The calls of a logger: from a message and its fields to a record on its way.

Rule 1: a level that nobody wants costs one dict access and nothing else.
Rule 2: a call returns a receipt and never raises, whatever it was given.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..core.callsite import find_caller
from ..core.context import current, current_fields
from ..core.errors import ExcInfo, exception_tag
from ..core.levels import (
    CRITICAL,
    DEBUG,
    ERROR,
    INFO,
    TRACE,
    WARNING,
    level_name,
    level_tag,
    parse_level,
)
from ..core.line import EMPTY, Fragment, LineEncoder, format_message, logger_tag
from ..engine import ENGINE, FILTERED, SAMPLED, Receipt, warn
from ._processing import process

if TYPE_CHECKING:
    from ..engine import Routes, Stream

# Told once each; bounded, since a level may be made of data.
_warned: Final[set[str]] = set()
_WARNINGS: Final = 100


def level_number(level: int | str) -> int:
    """Return the number of *level*; that of info, with one warning, when there is none."""
    try:
        return parse_level(level)
    except ValueError as error:
        said = str(error)
    except Exception:
        # What was given cannot even be shown.
        said = f"an object of type {type(level).__name__} is no level"
    if said not in _warned and len(_warned) < _WARNINGS:
        _warned.add(said)
        warn(f"{said}; the record is logged at level info")
    return INFO


def _is_true(value: object) -> bool:
    """Return whether *value* is true; one that cannot be asked is."""
    try:
        return bool(value)
    except Exception:
        return True


class Calls:
    """
    The part of a logger that logs; `Logger` adds what makes other loggers.

    Args:
        name: The name that layers and readers go by.
        fields: Fields on each of its records.
        tracked: Whether every call gives a receipt of its own.
        routes: Where its records go; None: where the engine's own scope sends them.
    """

    __slots__ = ("_encoded", "_fields", "_routes", "_tag", "_tracked", "name")

    def __init__(
        self,
        name: str,
        fields: Mapping[str, object] | None = None,
        *,
        tracked: bool = False,
        routes: Routes | None = None,
    ) -> None:
        # A name that is no string would raise at the first call, where nothing may.
        given: object = name
        self.name = name = given if isinstance(given, str) else str(given)
        self._fields = dict(fields or {})
        self._routes = ENGINE.routes(name) if routes is None else routes
        self._tag = logger_tag(name)
        self._tracked = tracked
        # One tuple, replaced whole, so that a fragment is never seen with the
        # encoder of another configuration.
        self._encoded: tuple[LineEncoder | None, Fragment] = (None, EMPTY)

    # -- levels

    def trace(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """Log at level trace: finer than debug; for following a single step. See `Logger.log`."""
        try:
            stream = self._routes.levels[TRACE]
        except KeyError:
            stream = self._routes.resolve(TRACE)
        if stream is None:
            return FILTERED
        if exc_info is not None or stack_info is not False or extra is not None:
            fields = self._extras(fields, stack_info, extra)
        return self._emit(stream, TRACE, message, args, exc_info, stacklevel, fields)

    def debug(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """Log at level debug: for whoever works on the code. See `Logger.log`."""
        try:
            stream = self._routes.levels[DEBUG]
        except KeyError:
            stream = self._routes.resolve(DEBUG)
        if stream is None:
            return FILTERED
        if exc_info is not None or stack_info is not False or extra is not None:
            fields = self._extras(fields, stack_info, extra)
        return self._emit(stream, DEBUG, message, args, exc_info, stacklevel, fields)

    def info(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """Log at level info: something happened that is worth knowing. See `Logger.log`."""
        try:
            stream = self._routes.levels[INFO]
        except KeyError:
            stream = self._routes.resolve(INFO)
        if stream is None:
            return FILTERED
        if exc_info is not None or stack_info is not False or extra is not None:
            fields = self._extras(fields, stack_info, extra)
        return self._emit(stream, INFO, message, args, exc_info, stacklevel, fields)

    def warning(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """Log at level warning: something is odd, and nothing has failed yet. See `Logger.log`."""
        try:
            stream = self._routes.levels[WARNING]
        except KeyError:
            stream = self._routes.resolve(WARNING)
        if stream is None:
            return FILTERED
        if exc_info is not None or stack_info is not False or extra is not None:
            fields = self._extras(fields, stack_info, extra)
        return self._emit(stream, WARNING, message, args, exc_info, stacklevel, fields)

    def error(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """Log at level error: something failed; it is in the kernel on return. See `Logger.log`."""
        try:
            stream = self._routes.levels[ERROR]
        except KeyError:
            stream = self._routes.resolve(ERROR)
        if stream is None:
            return FILTERED
        if exc_info is not None or stack_info is not False or extra is not None:
            fields = self._extras(fields, stack_info, extra)
        return self._emit(stream, ERROR, message, args, exc_info, stacklevel, fields)

    def critical(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """Log at level critical: the service cannot go on; waits for the disk. See `Logger.log`."""
        try:
            stream = self._routes.levels[CRITICAL]
        except KeyError:
            stream = self._routes.resolve(CRITICAL)
        if stream is None:
            return FILTERED
        if exc_info is not None or stack_info is not False or extra is not None:
            fields = self._extras(fields, stack_info, extra)
        return self._emit(stream, CRITICAL, message, args, exc_info, stacklevel, fields)

    warn = warning
    fatal = critical

    def exception(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = True,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """Log at level error with the exception being handled. See `Logger.log`."""
        return self.error(
            message, *args, exc_info=exc_info, stack_info=stack_info, stacklevel=stacklevel,
            extra=extra, **fields,
        )  # fmt: skip

    def log(
        self,
        level: int | str,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: object,
    ) -> Receipt:
        """
        Log *message* at *level*.

        Args:
            level: A name or a number. What is neither counts as info, with one
                warning: a mistake here must cost no record.
            message: What happened. Data belongs into *fields*; a message that is
                always the same can be searched for.
            args: Fill `%`-places of the message; without any, it is taken as it is.
            exc_info: True for the exception being handled, an exception, or a tuple.
            stack_info: Whether to add the stack of the call, as the field `stack`.
            stacklevel: Whose call site is recorded, where that is turned on.
            extra: More fields, as `logging` takes them.
            fields: Everything else.

        Returns:
            A receipt: `QUEUED`, `FILTERED`, `SAMPLED` or `DROPPED` below ERROR; one
            of its own from ERROR on, for tracked loggers and for parked lines.
        """
        number = level if type(level) is int else level_number(level)
        try:
            stream = self._routes.levels[number]
        except KeyError:
            number = level_number(number)
            stream = self._routes.resolve(number)
        if stream is None:
            return FILTERED
        if exc_info is not None or stack_info is not False or extra is not None:
            fields = self._extras(fields, stack_info, extra)
        return self._emit(stream, number, message, args, exc_info, stacklevel, fields)

    def is_enabled_for(self, level: int | str) -> bool:
        """
        Return whether anybody wants records of this logger at *level*.

        Raises:
            ValueError: If *level* is no level.
        """
        number = parse_level(level)
        levels = self._routes.levels
        found = levels[number] if number in levels else self._routes.resolve(number)
        return found is not None

    # -- the call path

    def _emit(
        self,
        stream: Stream,
        level: int,
        message: object,
        args: tuple[object, ...],
        exc_info: ExcInfo,
        stacklevel: int,
        fields: dict[str, object],
    ) -> Receipt:
        run = stream.run
        encoder = run.encoder
        if args:
            message = format_message(message, args)
        bound = EMPTY
        if self._fields:
            owner, bound = self._encoded
            if owner is not encoder:
                bound = encoder.fragment(self._fields)
                self._encoded = (encoder, bound)
        context = current(encoder)
        if run.settings.callsite:
            site = find_caller(stacklevel)
            fields = {
                **fields,
                "code.file.path": site.file,
                "code.line.number": site.line,
                "code.function.name": site.function,
            }
        if run.settings.processors and get_ident() not in run.processing:
            merged = {**self._fields, **current_fields(), **fields}
            answer = process(run, self, level_name(level), message, merged)
            if answer is None:
                next(run.suppressed)
                return SAMPLED
            message, fields = answer
            bound = context = EMPTY
        exception = exception_tag(exc_info) if exc_info is not None else b""
        body = encoder.body(
            run.time_ns(), level_tag(level), self._tag, message, bound, context, fields, exception
        )
        return stream.send(body, level, self._tracked)

    def _extras(
        self, fields: dict[str, object], stack_info: bool, extra: Mapping[str, object] | None
    ) -> dict[str, object]:
        """Return *fields* with what the control keywords ask for."""
        if extra is not None:
            try:
                fields = {**extra, **fields}
            except Exception:
                # It is no mapping, or one whose own methods raise; the encoder can show it.
                fields = {**fields, "extra": extra}
        if _is_true(stack_info):
            import traceback

            frames = traceback.format_stack()
            own = __package__.partition(".")[0]
            fields = {**fields, "stack": "".join(f for f in frames if f"/{own}/logger/" not in f)}
        return fields
