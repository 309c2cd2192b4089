"""
Processors: what may look at a record, change it or drop it before it is encoded.

All are structlog-style callables; those written for structlog can be used as they are.
"""

from __future__ import annotations

from ._events import AddFields, AddProcess, DropEvent, EventDict, Processor, RateLimit, Sample
from ._redact import DEFAULT_KEYS, MASK, Redactor

__all__ = [
    "DEFAULT_KEYS",
    "MASK",
    "AddFields",
    "AddProcess",
    "DropEvent",
    "EventDict",
    "Processor",
    "RateLimit",
    "Redactor",
    "Sample",
]
