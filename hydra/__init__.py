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


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("hydra-log")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
