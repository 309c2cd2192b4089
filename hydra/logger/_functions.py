"""
Module-level functions: the API without holding a logger.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType

from ..config import Settings
from ..core.levels import INFO
from ..engine import ENGINE
from ..metrics import Stats, render
from ._blocks import Timed
from ._logger import ROOT, Logger

_root = Logger(ROOT)

trace = _root.trace
debug = _root.debug
info = _root.info
warning = warn = _root.warning
error = _root.error
critical = fatal = _root.critical
log = _root.log
log_exception = _root.exception


def timed_log(event: str, /, level: int | str = INFO, **fields: object) -> Timed:
    """Log *event* with its duration when a `with` block ends. See `Logger.timed`."""
    return _root.timed(event, level, **fields)


def configure(
    config: Mapping[str, object] | Settings | str | os.PathLike[str] | None = None,
    /,
    *,
    preset: str | None = None,
    file: str | os.PathLike[str] | None = None,
    **options: object,
) -> None:
    """
    Say where records go. Optional: without it, they go to standard error.

    May be called again at any time: new calls go to the new destinations, and what
    was queued drains to the old ones. Precedence: defaults, preset, file,
    environment (`HYDRA_*`), keywords.

    Args:
        config: A mapping, a settings object, or the path of a file.
        preset: The name of a ready-made configuration to start from.
        file: A TOML, JSON or YAML file.
        options: The options; see the reference page on configuration.

    Raises:
        ConfigurationError: With every problem there is; the configuration that was
            in force stays in force.
    """
    ENGINE.configure(config, preset, file, options)


def stats() -> Stats:
    """Return what the engine counts about itself, now."""
    return ENGINE.stats()


def metrics_text() -> str:
    """Return the engine's own metrics as Prometheus text (`version=0.0.4`)."""
    return render(ENGINE.stats())


def flush(timeout: float | None = 5.0) -> Stats:
    """
    Block until everything accepted before this call is delivered, held or counted.

    Waits for *timeout* seconds at most and does not raise when they are over:
    `Stats.pending` minus `Stats.held` says what is left. On a thread that runs
    an event loop use `aflush`.
    """
    ENGINE.flush(timeout)
    return ENGINE.stats()


async def aflush(timeout: float | None = 5.0) -> Stats:
    """As `flush`, without blocking the event loop."""
    await ENGINE.aflush(timeout)
    return ENGINE.stats()


def close(timeout: float = 5.0) -> Stats:
    """
    Drain, write the close records and let go of files and threads. Idempotent.

    What no destination takes within *timeout* seconds goes to the fallbacks on
    this thread; what they do not take either is counted as dropped, except for
    ERROR and above, which stay in the journal for the next start. A record that is
    logged later is written directly by the call, until the next `configure`.
    """
    ENGINE.close(timeout)
    return ENGINE.stats()


async def aclose(timeout: float = 5.0) -> Stats:
    """As `close`, without blocking the event loop while the writers drain."""
    await ENGINE.aclose(timeout)
    return ENGINE.stats()


class running(AbstractContextManager["None"], AbstractAsyncContextManager["None"]):  # noqa: N801 - used as a statement
    """
    Configure for the length of a `with` or `async with` block, then close.

    Takes what `configure` takes; it is configured when the block is entered.
    """

    def __init__(
        self,
        config: Mapping[str, object] | Settings | str | os.PathLike[str] | None = None,
        /,
        *,
        preset: str | None = None,
        file: str | os.PathLike[str] | None = None,
        **options: object,
    ) -> None:
        self._config = config
        self._preset = preset
        self._file = file
        self._options = options

    def __enter__(self) -> None:
        ENGINE.configure(self._config, self._preset, self._file, self._options)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        close()

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await aclose()
