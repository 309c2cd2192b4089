from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from .adapter import Peer, Promises, as_text


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

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        import picologging

        self._configure([picologging.FileHandler(name) for name in (path, *also)], level)

    def setup_stream(self, stream: TextIO, level: str) -> None:
        import picologging

        self._configure([picologging.StreamHandler(stream)], level)

    def _configure(self, handlers: list[Any], level: str) -> None:
        import picologging

        formatter = picologging.Formatter("%(levelname)s:%(name)s:%(message)s")
        logger = picologging.Logger("bench", getattr(picologging, level.upper()))
        for handler in handlers:
            handler.setFormatter(formatter)
            logger.addHandler(handler)
        self._handlers = handlers
        self._take(as_text, logger)

    def close(self) -> None:
        for handler in self._handlers:
            handler.flush()
            handler.close()
