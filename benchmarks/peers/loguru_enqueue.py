from __future__ import annotations

from typing import Any, ClassVar

from .adapter import Promises
from .loguru_file import LoguruFile


class LoguruEnqueue(LoguruFile):
    """loguru with `enqueue=True`: a thread of its own writes."""

    name = "loguru enqueue"
    page = (
        "https://loguru.readthedocs.io/en/stable/overview.html"
        "#asynchronous-thread-safe-multiprocess-safe"
    )
    promises = Promises(structured=True, queued=True)
    options: ClassVar[dict[str, Any]] = {"serialize": True, "enqueue": True}
