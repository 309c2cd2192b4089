from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from .adapter import Peer, Promises, as_text


class StdlibFile(Peer):
    """`logging` with a FileHandler."""

    name = "stdlib"
    modules: tuple[str, ...] = ("logging",)
    page = "https://docs.python.org/3/howto/logging-cookbook.html"
    promises = Promises(structured=False)

    def version(self) -> str:
        import platform

        return platform.python_version()

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        import logging

        self._configure([logging.FileHandler(name) for name in (path, *also)], level)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        import logging

        self._configure([logging.StreamHandler(stream)], level)

    def _configure(self, handlers: list[Any], level: str) -> None:
        import logging

        # The format of the cookbook's first example.
        formatter = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")
        for handler in handlers:
            handler.setFormatter(formatter)
        logger = logging.getLogger("bench")
        logger.setLevel(level.upper())
        self._attach(logger, handlers)
        self._take(as_text, logger)

    def _attach(self, logger: Any, handlers: list[Any]) -> None:
        for handler in handlers:
            logger.addHandler(handler)

    def close(self) -> None:
        import logging

        logging.shutdown()
