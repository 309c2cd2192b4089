"""
The logger and the module-level functions.
"""

from __future__ import annotations

from ._blocks import Catch, Timed
from ._fronts import AsyncHydraLogger, HydraLogger
from ._functions import (
    aclose,
    aflush,
    close,
    configure,
    critical,
    debug,
    error,
    fatal,
    flush,
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
from ._logger import Logger, get_logger

__all__ = [
    "AsyncHydraLogger",
    "Catch",
    "HydraLogger",
    "Logger",
    "Timed",
    "aclose",
    "aflush",
    "close",
    "configure",
    "critical",
    "debug",
    "error",
    "fatal",
    "flush",
    "get_logger",
    "info",
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
