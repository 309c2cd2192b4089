"""
Hydra: logging that tells you where every record went.

    import hydra

    log = hydra.get_logger("shop")
    log.info("order placed", order_id=42)          # in a script
    await log.info("order placed", order_id=42)    # in a service: the same call
"""

from __future__ import annotations

from ._installation import check as _check

_check()

# Known to type checkers by this name, without importing `typing` here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Destination, Settings
    from .core import (
        ConfigurationError,
        HydraError,
        HydraLoggerException,
        HydraWarning,
        context,
        lazy,
    )
    from .engine import (
        DROPPED,
        FILTERED,
        QUEUED,
        SAMPLED,
        Durability,
        Receipt,
        Settlement,
    )
    from .logger import (
        AsyncHydraLogger,
        HydraLogger,
        Logger,
        aclose,
        aflush,
        close,
        configure,
        critical,
        debug,
        error,
        fatal,
        flush,
        get_logger,
        info,
        log,
        log_exception,
        metrics_text,
        running,
        stats,
        timed_log,
        trace,
        warn,
        warning,
    )
    from .metrics import DropEvent, FailoverEvent, PressureEvent, RecoveryEvent, Stats

__all__ = [
    "DROPPED",
    "FILTERED",
    "QUEUED",
    "SAMPLED",
    "AsyncHydraLogger",
    "ConfigurationError",
    "Destination",
    "DropEvent",
    "Durability",
    "FailoverEvent",
    "HydraError",
    "HydraLogger",
    "HydraLoggerException",
    "HydraWarning",
    "Logger",
    "PressureEvent",
    "Receipt",
    "RecoveryEvent",
    "Settings",
    "Settlement",
    "Stats",
    "aclose",
    "aflush",
    "close",
    "configure",
    "context",
    "critical",
    "debug",
    "error",
    "fatal",
    "flush",
    "get_logger",
    "info",
    "lazy",
    "log",
    "log_exception",
    "metrics_text",
    "running",
    "stats",
    "timed_log",
    "trace",
    "warn",
    "warning",
]


# Where the names are looked for, in this order.
_ROOMS = ("logger", "engine", "core", "config", "metrics")


def __getattr__(name: str) -> object:
    if name in __all__:
        # With the first name come all: a program that imports Hydra and never uses it
        # pays nothing for it.
        from importlib import import_module

        rooms = [vars(import_module(f".{room}", __name__)) for room in _ROOMS]
        found = {each: next(room[each] for room in rooms if each in room) for each in __all__}
        globals().update(found)
        return found[name]
    if name == "__version__":
        from importlib.metadata import version

        return version("hydra-log")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
