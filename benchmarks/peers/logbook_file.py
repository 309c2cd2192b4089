from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .adapter import BRACES, Peer, Promises


class LogbookFile(Peer):
    """Logbook with a FileHandler, pushed for the whole application."""

    name = "logbook"
    modules = ("logbook",)
    page = "https://logbook.readthedocs.io/en/stable/quickstart.html"
    promises = Promises(structured=False)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        import logbook

        self._configure(
            [
                # The first to see a record lets it through to the next.
                logbook.FileHandler(name, level=level.upper(), bubble=number > 0)
                for number, name in enumerate((path, *also))
            ]
        )

    def setup_stream(self, stream: TextIO, level: str) -> None:
        import logbook

        self._configure([logbook.StreamHandler(stream, level=level.upper())])

    def _configure(self, handlers: list[Any]) -> None:
        import logbook

        for handler in handlers:
            handler.push_application()
        self._handlers = handlers
        self._take(_with_braces, logbook.Logger("bench"))

    def close(self) -> None:
        for handler in reversed(self._handlers):
            handler.pop_application()
            handler.close()


def _with_braces(call: Callable[..., Any]) -> Callable[..., Any]:
    def log(message: str, **fields: object) -> None:
        call(BRACES, message, **fields)

    return log
