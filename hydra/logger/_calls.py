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
from ..core.errors import exception_tag
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
from ..core.line import EMPTY, Fragment, LineEncoder
from ..engine import ENGINE, FILTERED, SAMPLED, Receipt, level_method, warn
from ._control import parted
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


class Calls:
    """
    The part of a logger that logs; `Logger` adds what makes other loggers.

    Args:
        name: The name that layers and readers go by.
        fields: Fields on each of its records.
        tracked: Whether every call gives a receipt of its own.
        routes: Where its records go; None: where the engine's own scope sends them.
    """

    __slots__ = ("_bound", "_fields", "_routes", "_tracked", "name")

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
        self._tracked = tracked
        # The fields as the encoder has encoded them. One tuple, replaced whole, so that
        # a fragment is never seen with the encoder of another configuration.
        self._bound: tuple[LineEncoder | None, Fragment] = (None, EMPTY)

    # -- levels

    @level_method(TRACE)
    def trace(self, message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level trace: finer than debug; for following a single step. See `Logger.log`."""
        try:
            route = self._routes.by_level[TRACE]
        except KeyError:
            route = self._routes.resolve(TRACE)
        return FILTERED if route is None else route(self, message, args, fields)

    @level_method(DEBUG)
    def debug(self, message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level debug: for whoever works on the code. See `Logger.log`."""
        try:
            route = self._routes.by_level[DEBUG]
        except KeyError:
            route = self._routes.resolve(DEBUG)
        return FILTERED if route is None else route(self, message, args, fields)

    @level_method(INFO)
    def info(self, message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level info: something happened that is worth knowing. See `Logger.log`."""
        try:
            route = self._routes.by_level[INFO]
        except KeyError:
            route = self._routes.resolve(INFO)
        return FILTERED if route is None else route(self, message, args, fields)

    @level_method(WARNING)
    def warning(self, message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level warning: something is odd, and nothing has failed yet. See `Logger.log`."""
        try:
            route = self._routes.by_level[WARNING]
        except KeyError:
            route = self._routes.resolve(WARNING)
        return FILTERED if route is None else route(self, message, args, fields)

    @level_method(ERROR)
    def error(self, message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level error: something failed; it is in the kernel on return. See `Logger.log`."""
        try:
            route = self._routes.by_level[ERROR]
        except KeyError:
            route = self._routes.resolve(ERROR)
        return FILTERED if route is None else route(self, message, args, fields)

    @level_method(CRITICAL)
    def critical(self, message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level critical: the service cannot go on; waits for the disk. See `Logger.log`."""
        try:
            route = self._routes.by_level[CRITICAL]
        except KeyError:
            route = self._routes.resolve(CRITICAL)
        return FILTERED if route is None else route(self, message, args, fields)

    warn = warning
    fatal = critical

    def exception(self, message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level error with the exception being handled. See `Logger.log`."""
        fields.setdefault("exc_info", True)
        return self.error(message, *args, **fields)

    def log(self, level: int | str, message: object, /, *args: object, **fields: object) -> Receipt:
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
            route = self._routes.by_level[number]
        except KeyError:
            number = level_number(number)
            route = self._routes.resolve(number)
        return FILTERED if route is None else route(self, message, args, fields)

    def is_enabled_for(self, level: int | str) -> bool:
        """
        Return whether anybody wants records of this logger at *level*.

        Raises:
            ValueError: If *level* is no level.
        """
        number = parse_level(level)
        ways = self._routes.by_level
        found = ways[number] if number in ways else self._routes.resolve(number)
        return found is not None

    # -- what is not plain (see `make_route`)

    def _bind_to(self, encoder: LineEncoder) -> Fragment:
        """Have the logger's own fields encoded, and keep what comes out."""
        bound = encoder.fragment(self._fields)
        self._bound = (encoder, bound)
        return bound

    def _emit(
        self, stream: Stream, level: int, message: object, fields: dict[str, object]
    ) -> Receipt:
        """Send a record that may need anything: control keywords, processors, careful encoding."""
        run = stream.run
        encoder = run.encoder
        asked, fields = parted(fields)
        owner, bound = self._bound
        if owner is not encoder:
            bound = self._bind_to(encoder)
        context = current(encoder)
        if run.settings.callsite:
            site = find_caller(asked.stacklevel)
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
        exception = b"" if asked.exc_info is None else exception_tag(asked.exc_info)
        body = encoder.body(
            run.time_ns(),
            level_tag(level),
            self._routes.tag,
            message,
            bound,
            context,
            fields,
            exception,
        )
        return stream.send(body, level, self._tracked)
