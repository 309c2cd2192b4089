"""
The logger: what users hold in their hands.

Rule: a logger is a name and bound fields; all state is in the engine, so loggers
can be copied, pickled and kept across a change of configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar, overload

from ..core.levels import ERROR, INFO
from ..engine import ENGINE
from ._blocks import Catch, Timed
from ._calls import Calls, level_number

F = TypeVar("F", bound=Callable[..., object])

ROOT: Final = "root"


class Logger(Calls):
    """
    Log records under one name. Get one from `hydra.get_logger`.

    Every method of a level may be called plainly or awaited; it is the same call,
    complete when it returns. It never raises and never blocks an event loop. Off
    a loop it may wait for room in a full queue, for the block timeout at most.
    """

    __slots__ = ()

    # -- other loggers

    def bind(self, /, **fields: object) -> Logger:
        """Return a logger of this name with *fields* added to each of its records."""
        return self._with({**self._fields, **fields}, self._tracked)

    def unbind(self, *names: str) -> Logger:
        """Return a logger of this name without the bound fields called *names*."""
        kept = {key: value for key, value in self._fields.items() if key not in names}
        return self._with(kept, self._tracked)

    def tracked(self) -> Logger:
        """Return a logger whose every call gives a receipt of its own, also below ERROR."""
        return self._with(self._fields, tracked=True)

    def _with(self, fields: Mapping[str, object], tracked: bool) -> Logger:
        return Logger(self.name, fields, tracked=tracked, routes=self._routes)

    # -- around code

    @overload
    def catch(self, function: F, /) -> F: ...
    @overload
    def catch(
        self,
        /,
        *,
        level: int | str = ERROR,
        message: str = ...,
        reraise: bool = False,
        default: object = None,
    ) -> Catch: ...
    def catch(
        self,
        function: F | None = None,
        /,
        *,
        level: int | str = ERROR,
        message: str = "uncaught exception",
        reraise: bool = False,
        default: object = None,
    ) -> F | Catch:
        """
        Log exceptions that leave a function or a `with` block, and stop them there.

        Use it as `@log.catch`, `@log.catch(reraise=True)` or `with log.catch():`.
        KeyboardInterrupt, SystemExit and cancellation pass through unlogged.

        Args:
            function: The function to wrap: plain, async, or a generator of either kind.
            level: The level of the record.
            message: Its message.
            reraise: Whether the exception goes on after it was logged.
            default: What a wrapped function returns instead.
        """
        catch = Catch(self, level_number(level), message, reraise=reraise, default=default)
        return catch if function is None else catch(function)

    def timed(self, event: str, /, level: int | str = INFO, **fields: object) -> Timed:
        """
        Log *event* with the field `duration_seconds` when a `with` block ends.

        The block may add fields to the dict it gets. When it raises, the record
        has level error and the exception, which goes on.
        """
        return Timed(self, event, level_number(level), fields)

    def __repr__(self) -> str:
        return f"<Logger {self.name!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        if self._routes is not ENGINE.routes(self.name):
            raise TypeError(
                f"the logger {self.name!r} of a front cannot be pickled: where it sends its "
                "records is known in this process only"
            )
        return _restore, (self.name, self._fields, self._tracked)

    def __copy__(self) -> Logger:
        return self

    def __deepcopy__(self, memo: object) -> Logger:
        return self


def _restore(name: str, fields: dict[str, object], tracked: bool) -> Logger:
    return Logger(name, fields, tracked=tracked)


def get_logger(name: str = ROOT, /, **fields: object) -> Logger:
    """
    Return a logger called *name*, with *fields* on each of its records.

    Names are hierarchical by dots: a layer configured for `shop` holds for
    `shop.cart` too.
    """
    return Logger(name, fields)
