from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .adapter import Peer, Promises, Read, read_fields


class OpenTelemetryBatch(Peer):
    """
    The OpenTelemetry SDK: `logging` through a LoggingHandler, a batch processor, and the
    SDK's own exporter of JSON, which writes to a file here.
    """

    name = "opentelemetry"
    package = "opentelemetry-sdk"
    modules = ("logging", "opentelemetry.sdk._logs", "opentelemetry.sdk._logs.export")
    page = "https://github.com/open-telemetry/opentelemetry-python/blob/main/docs/examples/logs/example.py"
    promises = Promises(structured=True, queued=True)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        self._configure([open(name, "a") for name in (path, *also)], level)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        self._configure([stream], level)

    def _configure(self, files: list[TextIO], level: str) -> None:
        import logging
        import warnings

        from opentelemetry._logs import set_logger_provider
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter

        self._provider = LoggerProvider()
        set_logger_provider(self._provider)
        for file in files:
            exporter = ConsoleLogRecordExporter(out=file, formatter=_line)
            self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        with warnings.catch_warnings():
            # Moved to another package, the same code.
            warnings.simplefilter("ignore", DeprecationWarning)
            handler = LoggingHandler(level=logging.NOTSET, logger_provider=self._provider)
        logger = logging.getLogger("bench")
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        self._take(_with_extra, logger)

    def close(self) -> None:
        self._provider.shutdown()

    def parse(self, line: bytes) -> Read:
        record = json.loads(line)
        return read_fields(record["attributes"], record["severity_text"])


def _line(record: Any) -> str:
    # One line for each record, where the default has forty.
    return f"{record.to_json(indent=None)}\n"


def _with_extra(call: Callable[..., Any]) -> Callable[..., Any]:
    def log(message: str, **fields: object) -> None:
        call(message, extra=fields)

    return log
