from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .adapter import Peer, Promises, Read, Unsupported, itself, read_fields


class FapilogFile(Peer):
    """fapilog's builder with a file, told to wait rather than to drop where its queue is full."""

    name = "fapilog"
    package = "fapilog"
    modules = ("fapilog",)
    page = "https://pypi.org/project/fapilog/0.18.1/"
    promises = Promises(structured=True, queued=True)
    lost = 0
    """How many records its close says were dropped."""

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        from fapilog import LoggerBuilder

        self._started(self._built(LoggerBuilder(), path, level, also).build())

    def setup_stream(self, stream: TextIO, level: str) -> None:
        from fapilog import LoggerBuilder

        if stream is not sys.stdout:
            raise Unsupported("has a sink for standard output, none for other streams")
        self._started(self._kept(LoggerBuilder(), level).add_stdout().build())

    @staticmethod
    def _kept(builder: Any, level: str) -> Any:
        # The one thing that its "production" preset sets for keeping records; the
        # preset itself would write to standard output, too.
        return builder.with_level(level.upper()).with_backpressure(drop_on_full=False)

    def _built(self, builder: Any, path: str, level: str, also: Sequence[str]) -> Any:
        builder = self._kept(builder, level)
        for number, name in enumerate((path, *also)):
            if number:
                raise Unsupported("keeps one rotating file")
            # A directory: the sink chooses the names of the files in it.
            builder = builder.add_file(f"{name}.d", max_bytes="4 GB")
        return builder

    def _started(self, logger: Any) -> None:
        self._log = logger
        self._take(itself, logger)

    def bound(self, **fields: object) -> Callable[..., Any]:
        return self._log.bind(**fields).info

    def close(self) -> None:
        import asyncio

        self.lost = asyncio.run(self._log.stop_and_drain()).dropped

    async def aclose(self) -> None:
        self.lost = (await self._log.stop_and_drain()).dropped

    def files(self, path: str) -> list[str]:
        folder = f"{path}.d"
        # Made with the first record.
        if not os.path.isdir(folder):
            return []
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def parse(self, line: bytes) -> Read:
        record = json.loads(line)["log"]
        return read_fields(record["data"], record["level"])


class FapilogAwaited(FapilogFile):
    """The same with fapilog's async logger."""

    name = "fapilog async"
    plain = False
    promises = Promises(structured=True, queued=True, awaited=True)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        raise Unsupported("logs on an event loop only")

    async def asetup(self, path: str, level: str) -> None:
        from fapilog import AsyncLoggerBuilder

        self._started(await self._built(AsyncLoggerBuilder(), path, level, ()).build_async())

    async def asetup_stream(self, stream: TextIO, level: str) -> None:
        from fapilog import AsyncLoggerBuilder

        if stream is not sys.stdout:
            raise Unsupported("has a sink for standard output, none for other streams")
        self._started(await self._kept(AsyncLoggerBuilder(), level).add_stdout().build_async())
