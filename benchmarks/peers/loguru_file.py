from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TextIO

from .adapter import Peer, Promises, Read, itself, read_fields


class LoguruFile(Peer):
    """loguru with `serialize=True`; keywords of a call are captured as fields."""

    name = "loguru"
    package = "loguru"
    modules = ("loguru",)
    page = "https://loguru.readthedocs.io/en/stable/overview.html#structured-logging-as-needed"
    promises = Promises(structured=True)
    options: ClassVar[dict[str, Any]] = {"serialize": True}

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        self._configure([path, *also], level)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        self._configure([stream], level)

    def _configure(self, sinks: list[Any], level: str) -> None:
        from loguru import logger

        logger.remove()
        for sink in sinks:
            logger.add(sink, level=level.upper(), **self.options)
        self._log = logger
        self._take(itself, logger)

    def bound(self, **fields: object) -> Callable[..., Any]:
        return self._log.bind(**fields).info

    def context(self, **fields: object) -> AbstractContextManager[object]:
        return self._log.contextualize(**fields)

    def close(self) -> None:
        self._log.complete()
        self._log.remove()

    def parse(self, line: bytes) -> Read:
        record = json.loads(line)["record"]
        return read_fields(record["extra"], record["level"]["name"])
