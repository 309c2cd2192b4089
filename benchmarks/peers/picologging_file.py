from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .adapter import Peer, Promises, Read, as_text, read_json


class PicologgingFile(Peer):
    """
    picologging with a FileHandler and its default format.

    That format has no time. Where one is asked for, this version writes bytes that are no
    text in its place.
    """

    name = "picologging"
    modules = ("picologging",)
    page = "https://microsoft.github.io/picologging/"
    promises = Promises(structured=False)
    style = staticmethod(as_text)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        import picologging

        self._configure([picologging.FileHandler(name) for name in (path, *also)], level)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        import picologging

        self._configure([picologging.StreamHandler(stream)], level)

    def _configure(self, handlers: list[Any], level: str) -> None:
        import picologging

        formatter = self._formatter()
        logger = picologging.Logger("bench", getattr(picologging, level.upper()))
        for handler in handlers:
            handler.setFormatter(formatter)
            logger.addHandler(handler)
        self._handlers = handlers
        self._take(self.style, logger)

    def _formatter(self) -> Any:
        import picologging

        return picologging.Formatter("%(levelname)s:%(name)s:%(message)s")

    def close(self) -> None:
        for handler in self._handlers:
            handler.flush()
            handler.close()


class PicologgingJson(PicologgingFile):
    """
    The same with a formatter that makes JSON of a record by orjson.

    It has none of its own, and no `extra`; the fields go the way that Python's cookbook
    shows for structured logging, through the arguments.
    """

    name = "picologging json"
    package = "picologging"
    modules = ("picologging", "orjson")
    page = "https://docs.python.org/3/howto/logging-cookbook.html#implementing-structured-logging"
    promises = Promises(structured=True)

    @staticmethod
    def style(call: Callable[..., Any]) -> Callable[..., Any]:
        def log(message: str, **fields: object) -> Any:
            return call(message, fields)

        return log

    def _formatter(self) -> Any:
        import orjson
        import picologging

        class Json(picologging.Formatter):  # type: ignore[misc]
            def format(self, record: Any) -> str:
                line = {
                    "timestamp": record.created,
                    "level": record.levelname.lower(),
                    "logger": record.name,
                    "message": record.msg,
                }
                if record.args:
                    line.update(record.args)
                return orjson.dumps(line).decode()

        return Json()

    def parse(self, line: bytes) -> Read:
        return read_json(line)
