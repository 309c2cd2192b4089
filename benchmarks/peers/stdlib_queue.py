from __future__ import annotations

from typing import Any

from .adapter import Promises
from .stdlib_file import StdlibFile


class StdlibQueue(StdlibFile):
    """`logging` with a QueueHandler, and a QueueListener that writes."""

    name = "stdlib queue"
    page = "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block"
    modules = ("logging", "logging.handlers", "queue")
    promises = Promises(structured=False, queued=True)

    def _attach(self, logger: Any, handlers: list[Any]) -> None:
        import logging.handlers
        import queue

        records: queue.Queue[logging.LogRecord] = queue.Queue(-1)
        logger.addHandler(logging.handlers.QueueHandler(records))
        self._listener = logging.handlers.QueueListener(records, *handlers)
        self._listener.start()

    def close(self) -> None:
        self._listener.stop()
        super().close()
