"""
Fronts: loggers that bring a configuration of their own, with layers named in the call.

Rule 1: a front is a face. Its calls are those of `Logger`, one for each layer; its
configuration is at work in a scope of the one engine.
Rule 2: nothing is lost for a wrong name: what no layer is for goes where the
default layer's records go, and the record says which layer was asked for.
Rule 3: a front may be let go of without a close; what is queued drains, in the
background and at the end of the process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NoReturn, Self, cast

from ..config import Settings, load, scoped
from ..core.callsite import find_caller
from ..core.levels import CRITICAL, DEBUG, ERROR, INFO, TRACE, WARNING
from ..engine import ENGINE, Receipt, layer_of, warn
from ..metrics import Stats
from ._logger import Logger

# The layer of calls that name none; the first of these that is configured.
_DEFAULTS: Final = ("default", "DEFAULT")
# Bounded, since the name of a layer may be made of data.
_REMEMBERED: Final = 1_000
_WARNINGS: Final = 100


class Front:
    """
    What `HydraLogger` and `AsyncHydraLogger` have in common: everything but the lifecycle.

    Each method of a level takes `(message)`, which goes to the default layer, or
    `(layer, message, *args)`; with the keyword *layer*, all positions are message and
    `%`-arguments. Everything else is as for `Logger.log`: `exc_info`, `stack_info`,
    `stacklevel` and `extra` are known, all other keywords are fields, and what is
    returned is a receipt that may be awaited or dropped.

    The default layer is the one called `default` or `DEFAULT`; where there is none, the
    level and destinations of the whole configuration. A layer that is not configured,
    nor below one that is, falls to the default with one warning; its name stays in the
    record.

    Args:
        config: As for `hydra.configure`: a mapping, a settings object, or a path.
        name: Tells its destinations from those of others in `hydra.stats()`, and is part
            of the names of its journal and state files. None: made from the app and the
            places that are written to. Give one where sinks of one class go to
            different places, or where paths change from one start to the next.
        preset: As for `hydra.configure`.
        file: As for `hydra.configure`.
        options: As for `hydra.configure`.

    Raises:
        ConfigurationError: With everything that is wrong.
    """

    __slots__ = ("_default", "_lease", "_loggers", "_settings", "_strangers", "name")

    def __init__(
        self,
        config: Mapping[str, object] | Settings | str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        preset: str | None = None,
        file: str | os.PathLike[str] | None = None,
        **options: object,
    ) -> None:
        settings = load(config, preset=preset, file=file, keywords=options)
        self.name, self._settings = scoped(settings, name)
        layers = self._settings.layers
        self._default = next((each for each in _DEFAULTS if each in layers), _DEFAULTS[0])
        self._loggers: dict[str, Logger] = {}
        self._strangers = 0
        self._lease = ENGINE.scope(self.name, default=self._default)
        self._lease.scope.open(self._settings)

    # -- levels

    def trace(self, layer_or_message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level trace: finer than debug; for following a single step."""
        return self._log(TRACE, layer_or_message, args, fields)

    def debug(self, layer_or_message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level debug: for whoever works on the code."""
        return self._log(DEBUG, layer_or_message, args, fields)

    def info(self, layer_or_message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level info: something happened that is worth knowing."""
        return self._log(INFO, layer_or_message, args, fields)

    def warning(self, layer_or_message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level warning: something is odd, and nothing has failed yet."""
        return self._log(WARNING, layer_or_message, args, fields)

    def error(self, layer_or_message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level error: something failed; it is in the kernel on return."""
        return self._log(ERROR, layer_or_message, args, fields)

    def critical(self, layer_or_message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level critical: the service cannot go on; waits for the disk."""
        return self._log(CRITICAL, layer_or_message, args, fields)

    warn = warning
    fatal = critical

    def exception(self, layer_or_message: object, /, *args: object, **fields: object) -> Receipt:
        """Log at level error with the exception being handled."""
        return self._log(ERROR, layer_or_message, args, {"exc_info": True, **fields})

    def log(
        self, level: int | str, layer_or_message: object, /, *args: object, **fields: object
    ) -> Receipt:
        """Log at *level*, a name or a number; what is neither counts as info, with one warning."""
        return self._log(level, layer_or_message, args, fields)

    def _log(
        self,
        level: int | str,
        first: object,
        args: tuple[object, ...],
        fields: dict[str, object],
    ) -> Receipt:
        layer: object = None
        if "layer" in fields:
            layer = fields.pop("layer")
        elif args:
            layer, first, args = first, args[0], args[1:]
        found = self._logger(self._default if layer is None else layer)
        return found.log(level, first, *args, **cast("dict[str, Any]", fields))

    # -- layers

    def get_logger(self, layer: str | None = None, /, **fields: object) -> Logger:
        """
        Return the logger of *layer*, with *fields* on each of its records.

        Choose it in new code, and where a front has to be handed to code that knows
        loggers only: it has `bind`, `tracked`, `catch` and `timed`, and costs a call less.
        It keeps the scope open when the front itself is gone.
        """
        found = self._logger(self._default if layer is None else layer)
        return found.bind(**fields) if fields else found

    def _logger(self, layer: object) -> Logger:
        # A member of an enumeration counts as the text it stands for.
        name = str.__str__(layer) if isinstance(layer, str) else _text(layer)
        found = self._loggers.get(name)
        return self._meet(name) if found is None else found

    def _meet(self, name: str) -> Logger:
        fresh = Logger(name, routes=self._lease.routes(name))
        if len(self._loggers) >= _REMEMBERED:
            return fresh
        found = self._loggers.setdefault(name, fresh)
        known = name in _DEFAULTS or layer_of(name, self._settings.layers)
        if found is fresh and not known and self._strangers < _WARNINGS:
            self._strangers += 1
            site = find_caller()
            warn(
                f"{self!r} has no layer {name[:80]!r}, which {site.file}:{site.line} asks for; "
                f"its records go where those of {self._default!r} go"
            )
        return found

    # -- the scope

    def stats(self) -> Stats:
        """Return what the engine counts about this front's records, now."""
        return self._lease.scope.stats()

    async def aflush(self, timeout: float | None = 5.0) -> Stats:
        """As `hydra.aflush`, for the records of this front."""
        await self._lease.scope.aflush(timeout)
        return self.stats()

    async def aclose(self, timeout: float = 5.0) -> Stats:
        """As `hydra.aclose`, for this front: others, and `hydra` itself, go on."""
        await self._lease.scope.aclose(timeout)
        return self.stats()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: its queues and files are those of this "
            "process; make one of the same configuration in the other"
        )


class HydraLogger(Front):
    """
    A logger with a configuration of its own, for programs without an event loop.

    It is open when it is made, and may be used in a `with` block. Its calls may be
    awaited, too; where the lifecycle has to be awaited, choose `AsyncHydraLogger`.
    """

    __slots__ = ()

    def initialize(self) -> Self:
        """
        Open it again after a close, under the same configuration; else do nothing.

        Raises:
            ConfigurationError: If `strict` is set and there is no place for the journal.
        """
        self._lease.scope.reopen()
        return self

    def flush(self, timeout: float | None = 5.0) -> Stats:
        """As `hydra.flush`, for the records of this front."""
        self._lease.scope.flush(timeout)
        return self.stats()

    def close(self, timeout: float = 5.0) -> Stats:
        """
        As `hydra.close`, for this front: others, and `hydra` itself, go on.

        A record that is logged later is written directly by the call, until `initialize`.
        """
        self._lease.scope.close(timeout)
        return self.stats()

    def __enter__(self) -> Self:
        return self.initialize()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncHydraLogger(Front):
    """
    A logger with a configuration of its own, for asyncio and trio.

    It is open when it is made, and may be used in an `async with` block. Its calls are
    those of `HydraLogger`: complete when they return, awaited or not.
    """

    __slots__ = ()

    async def initialize(self) -> Self:
        """As `HydraLogger.initialize`."""
        self._lease.scope.reopen()
        return self

    async def flush(self, timeout: float | None = 5.0) -> Stats:
        """As `HydraLogger.flush`, without blocking the event loop."""
        return await self.aflush(timeout)

    async def close(self, timeout: float = 5.0) -> Stats:
        """As `HydraLogger.close`, without blocking the event loop while the writers drain."""
        return await self.aclose(timeout)

    async def __aenter__(self) -> Self:
        return await self.initialize()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _text(layer: object) -> str:
    try:
        return str(layer)
    except Exception:
        return type(layer).__name__
