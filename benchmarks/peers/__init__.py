"""
The libraries that are compared: one table, one file for each.
"""

from __future__ import annotations

import importlib
from typing import Final

from .adapter import Adapter, Promises, Unsupported

__all__ = ["BASELINE", "HYDRA", "TABLE", "Adapter", "Promises", "Unsupported", "load"]

HYDRA: Final = "hydra"
BASELINE: Final = "floor"
"""What is no logger: the least work that leaves the same lines in a file."""

TABLE: Final = {
    BASELINE: "floor:Floor",
    HYDRA: "hydra_log:HydraLog",
    "stdlib": "stdlib_file:StdlibFile",
    "stdlib queue": "stdlib_queue:StdlibQueue",
    "structlog": "structlog_bytes:StructlogBytes",
    "structlog ainfo": "structlog_bytes:StructlogAwaited",
    "loguru": "loguru_file:LoguruFile",
    "loguru enqueue": "loguru_enqueue:LoguruEnqueue",
    "picologging": "picologging_file:PicologgingFile",
    "picologging json": "picologging_file:PicologgingJson",
    "logbook": "logbook_file:LogbookFile",
    "fastlogging": "fastlogging_file:FastloggingFile",
    "aiologger": "aiologger_json:AiologgerJson",
    "aiologging": "aiologging_file:AiologgingFile",
    "fapilog": "fapilog_file:FapilogFile",
    "fapilog async": "fapilog_file:FapilogAwaited",
    "hydra-logger": "hydra_logger_file:HydraLoggerFile",
    "hydra-logger async": "hydra_logger_file:HydraLoggerAwaited",
    "opentelemetry": "opentelemetry_batch:OpenTelemetryBatch",
}
"""Where the adapter of each library is; this order is that of the tables."""


def load(name: str) -> Adapter:
    """
    Return a new adapter; its library is not imported yet.

    Raises:
        ValueError: If no library is called *name*.
    """
    if name not in TABLE:
        raise ValueError(f"no library is called {name!r}; there are: {', '.join(TABLE)}")
    module, _, adapter = TABLE[name].partition(":")
    loaded: Adapter = getattr(importlib.import_module(f".{module}", __name__), adapter)()
    return loaded
