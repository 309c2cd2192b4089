from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from .adapter import Peer, Promises, Read, Unsupported, read_fields


class AiologgerJson(Peer):
    """aiologger's JsonLogger with an AsyncFileHandler; a call returns a task."""

    name = "aiologger"
    plain = False
    modules = ("aiologger.loggers.json", "aiologger.handlers.files")
    page = "https://pypi.org/project/aiologger/0.7.0/"
    promises = Promises(structured=True, queued=True, awaited=True, acks=True)

    async def asetup(self, path: str, level: str) -> None:
        from aiologger.handlers.files import AsyncFileHandler

        self._configure(AsyncFileHandler(filename=path), level)

    async def asetup_stream(self, stream: TextIO, level: str) -> None:
        from aiologger.handlers.streams import AsyncStreamHandler

        if not hasattr(stream, "fileno"):
            raise Unsupported("logs to streams that have a descriptor, to no others")
        self._configure(AsyncStreamHandler(stream=stream), level)

    def _configure(self, handler: Any, level: str) -> None:
        from aiologger.formatters.json import ExtendedJsonFormatter
        from aiologger.levels import LogLevel
        from aiologger.loggers.json import JsonLogger

        handler.formatter = ExtendedJsonFormatter()
        self._log = JsonLogger(name="bench", level=LogLevel[level.upper()])
        self._log.add_handler(handler)
        self._take(_as_dict, self._log)

    async def aclose(self) -> None:
        await self._log.shutdown()

    def parse(self, line: bytes) -> Read:
        record = json.loads(line)
        return read_fields(record["msg"], record["level"])


def _as_dict(call: Callable[..., Any]) -> Callable[..., Any]:
    def log(message: str, **fields: object) -> Any:
        return call({"message": message, **fields})

    return log
