from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .adapter import Peer, Promises, Read, Unsupported, read_fields


class HydraLoggerFile(Peer):
    """hydra-logger's synchronous logger with a JSON lines file. (No relation.)"""

    name = "hydra-logger"
    package = "hydra-logger"
    modules = ("hydra_logger",)
    page = "https://pypi.org/project/hydra-logger/0.7.0/"
    promises = Promises(structured=True)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        from hydra_logger import create_logger

        config = self._config([self._file("file", name) for name in (path, *also)], level)
        self._log = create_logger(config, logger_type="sync")
        self._take(_with_extra, self._log)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        from hydra_logger import create_logger

        config = self._config([self._console(stream)], level)
        self._log = create_logger(config, logger_type="sync")
        self._take(_with_extra, self._log)

    @staticmethod
    def _file(kind: str, path: str) -> dict[str, Any]:
        # A relative path is taken from a directory of its own choice.
        return {"type": kind, "path": os.path.abspath(path)}

    @staticmethod
    def _console(stream: TextIO) -> dict[str, Any]:
        if stream is not sys.stdout:
            raise Unsupported("has a sink for standard output, none for other streams")
        return {"type": "console"}

    @staticmethod
    def _config(destinations: list[dict[str, Any]], level: str) -> Any:
        from hydra_logger import LogDestination, LoggingConfig, LogLayer

        made = [LogDestination(format="json-lines", **options) for options in destinations]
        layer = LogLayer(level=level.upper(), destinations=made)
        return LoggingConfig(layers={"default": layer})

    def close(self) -> None:
        self._log.close()

    def files(self, path: str) -> list[str]:
        # It names a file of JSON lines by what is in it.
        return [f"{os.path.splitext(path)[0]}.jsonl"]

    def parse(self, line: bytes) -> Read:
        record = json.loads(line)
        return read_fields(record["extra"], record["level_name"])


class HydraLoggerAwaited(HydraLoggerFile):
    """The same with hydra-logger's asynchronous logger and file."""

    name = "hydra-logger async"
    plain = False
    promises = Promises(structured=True, queued=True, awaited=True)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        raise Unsupported("logs on an event loop only")

    async def asetup(self, path: str, level: str) -> None:
        await self._start([self._file("async_file", path)], level)

    async def asetup_stream(self, stream: TextIO, level: str) -> None:
        await self._start([{**self._console(stream), "type": "async_console"}], level)

    async def _start(self, destinations: list[dict[str, Any]], level: str) -> None:
        from hydra_logger import create_async_logger

        self._log = create_async_logger(self._config(destinations, level))
        self._take(_with_extra, self._log)

    async def aclose(self) -> None:
        await self._log.aclose()


def _with_extra(call: Callable[..., Any]) -> Callable[..., Any]:
    def log(message: str, **fields: object) -> Any:
        return call(message, extra=fields)

    return log
