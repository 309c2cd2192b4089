"""
Core: levels, ids, safe values, context, call site, exceptions and the canonical line.

Nothing here does I/O or starts anything; no later room is imported.
"""

from __future__ import annotations

from ._names import RESERVED
from .callsite import Site, find_caller
from .context import context, current, current_fields
from .errors import exception_tag
from .exceptions import ConfigurationError, HydraError, HydraLoggerException, HydraWarning, Problem
from .ids import Id, identify, new_run, parse_id, weigh
from .levels import CRITICAL, DEBUG, ERROR, INFO, TRACE, WARNING, level_name, level_tag, parse_level
from .line import EMPTY, Fragment, LineEncoder, format_message, logger_tag
from .timestamps import rfc3339
from .values import Lazy, Plain, Redacts, lazy, plain

__all__ = [
    "CRITICAL",
    "DEBUG",
    "EMPTY",
    "ERROR",
    "INFO",
    "RESERVED",
    "TRACE",
    "WARNING",
    "ConfigurationError",
    "Fragment",
    "HydraError",
    "HydraLoggerException",
    "HydraWarning",
    "Id",
    "Lazy",
    "LineEncoder",
    "Plain",
    "Problem",
    "Redacts",
    "Site",
    "context",
    "current",
    "current_fields",
    "exception_tag",
    "find_caller",
    "format_message",
    "identify",
    "lazy",
    "level_name",
    "level_tag",
    "logger_tag",
    "new_run",
    "parse_id",
    "parse_level",
    "plain",
    "rfc3339",
    "weigh",
]
