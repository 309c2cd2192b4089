from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .adapter import TEXT, Peer, Promises, Unsupported


class FastloggingFile(Peer):
    """fastlogging with a file; its calls take a finished message."""

    name = "fastlogging"
    modules = ("fastlogging",)
    page = "https://github.com/brmmm3/fastlogging#usage"
    promises = Promises(structured=False)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        if also:
            raise Unsupported("a logger writes to one file")
        self._configure(level, pathName=path)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        self._configure(level, console=True, stdout=stream, stderr=stream)

    def _configure(self, level: str, **options: Any) -> None:
        import fastlogging

        self._log = fastlogging.LogInit(level=getattr(fastlogging, level.upper()), **options)
        self._take(_finished, self._log)

    def close(self) -> None:
        self._log.shutdown()


def _finished(call: Callable[..., Any]) -> Callable[..., Any]:
    def log(message: str, *, seq: int, user: str, path: str, status: int, ms: float) -> None:
        call(TEXT % (message, seq, user, path, status, ms))

    return log
