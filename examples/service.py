"""
A web service that awaits its log calls: plain ASGI under uvicorn.

    pip install uvicorn
    python examples/service.py [DIRECTORY] [PORT]

Each request is bound to an id that every record of it carries. `GET /` greets,
`GET /fail` raises, `GET /metrics` shows the engine's own figures. The log is
DIRECTORY/service.log (`logs` by default); it is closed by the lifespan's end.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import count
from pathlib import Path
from typing import Any

import uvicorn

import hydra

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = hydra.get_logger("service")
numbers = count(1)


class App:
    """
    The application.

    Args:
        directory: Where the log is written.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "service.log"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            # Context fields go with the task: requests under way at once keep theirs.
            with hydra.context(request_id=next(numbers), path=scope["path"]):
                await self._answer(scope["path"], send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        hydra.configure(
            app="service-example",
            destinations=[{"name": "app", "type": "file", "path": str(self._path)}],
        )
        await log.info("started")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await log.info("stopping")
        await hydra.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, path: str, send: Send) -> None:
        await log.info("request")
        try:
            status, body = await self._page(path)
        except Exception:
            # In the kernel when the call returns, whatever happens next.
            await log.exception("request failed")
            status, body = 500, "sorry\n"
        await _send(send, status, body)
        await log.info("answered", status=status)

    async def _page(self, path: str) -> tuple[int, str]:
        match path:
            case "/":
                return 200, "hello\n"
            case "/fail":
                raise RuntimeError("this page always fails")
            case "/metrics":
                await hydra.aflush()
                return 200, hydra.metrics_text()
            case _:
                return 404, "no such page\n"


async def _send(send: Send, status: int, body: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


def main(directory: Path, port: int) -> None:
    """Serve on the loopback interface until SIGINT or SIGTERM."""
    listener = socket.create_server(("127.0.0.1", port))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(App(directory), log_level="warning", lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "logs"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 8000,
    )
