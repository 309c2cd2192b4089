from __future__ import annotations

from typing import Any, TextIO

from .adapter import Peer, Promises, as_text


class AiologgingFile(Peer):
    """aiologging with an AsyncFileHandler, blocking (its default) where its queue is full."""

    name = "aiologging"
    plain = False
    modules = ("aiologging",)
    page = "https://pypi.org/project/aiologging/0.2.11/"
    promises = Promises(structured=False, queued=True, awaited=True, acks=True)

    async def asetup(self, path: str, level: str) -> None:
        import aiologging

        self._configure(aiologging.AsyncFileHandler(path), level)

    async def asetup_stream(self, stream: TextIO, level: str) -> None:
        import aiologging

        self._configure(aiologging.AsyncStreamHandler(stream), level)

    def _configure(self, handler: Any, level: str) -> None:
        import logging

        import aiologging

        handler.setFormatter(
            logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")
        )
        logger = aiologging.getLogger("bench")
        logger.setLevel(getattr(aiologging, level.upper()))
        logger.addHandler(handler)
        self._take(as_text, logger)

    async def aclose(self) -> None:
        import aiologging

        await aiologging.shutdown()
