from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TextIO

from .adapter import Peer, Promises, Read, Unsupported, itself, read_json


class StructlogBytes(Peer):
    """The set-up of structlog's page on performance: orjson and a BytesLogger."""

    name = "structlog"
    modules = ("structlog", "orjson")
    page = "https://www.structlog.org/en/stable/performance.html"
    promises = Promises(structured=True)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        if also:
            raise Unsupported("a logger writes to one file")
        self._configure(open(path, "ab"), level)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        self._configure(stream.buffer, level)

    def _configure(self, file: Any, level: str) -> None:
        import logging

        import orjson
        import structlog

        structlog.configure(
            cache_logger_on_first_use=True,
            wrapper_class=structlog.make_filtering_bound_logger(
                logging.getLevelName(level.upper())
            ),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            logger_factory=structlog.BytesLoggerFactory(file=file),
        )
        self._file = file
        # `bind` makes the logger that a program keeps; the one before it is a proxy.
        self._log = structlog.get_logger().bind()
        self._calls()

    def _calls(self) -> None:
        self._take(itself, self._log)

    def bound(self, **fields: object) -> Callable[..., Any]:
        return self._log.bind(**fields).info

    def context(self, **fields: object) -> AbstractContextManager[object]:
        import structlog

        return structlog.contextvars.bound_contextvars(**fields)

    def close(self) -> None:
        self._file.flush()

    def parse(self, line: bytes) -> Read:
        return read_json(line)


class StructlogAwaited(StructlogBytes):
    """The same, called by its own async methods, each of which goes through an executor."""

    name = "structlog ainfo"
    package = "structlog"
    plain = False
    page = "https://www.structlog.org/en/stable/getting-started.html#asyncio"
    promises = Promises(structured=True, awaited=True)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        raise Unsupported("logs on an event loop only")

    async def asetup(self, path: str, level: str) -> None:
        super().setup(path, level)

    def _calls(self) -> None:
        log = self._log
        self.debug, self.info = log.adebug, log.ainfo
        self.error, self.critical = log.aerror, log.acritical
