"""
What the programs that measure may ask of a library.

Rule 1: an adapter configures its library as the library's own documentation does
(`page` names where), and calls it as shown there. Nothing is tuned.
Rule 2: a call is the library's own bound method wherever its signature allows; a
wrapper only arranges arguments.
Rule 3: a library is imported in `setup`, never at the top: finding out about a peer
costs nothing, and a peer that is not installed can still be listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, Protocol, TextIO

MESSAGE = "order placed"
FIELDS = {"user": "alice", "path": "/api/v1/orders", "status": 200, "ms": 12.5}
"""What the programs log; `seq` is the fifth field."""
TEXT = "%s seq=%d user=%s path=%s status=%d ms=%s"
"""How the five fields go into a message where a library has no fields."""
BRACES = "{} seq={seq} user={user} path={path} status={status} ms={ms}"

Read = tuple[int, str] | None
"""What a line says: its sequence number and level; None for a library's own record."""

_TEXT = re.compile(r" seq=(\d+) user=\S+ path=\S+ status=\d+ ms=[\d.]+$")


class Promises(NamedTuple):
    """
    What a library says of itself, in the words of its documentation.

    structured: Fields are written as fields, so that a line can be parsed.
    queued: A call hands over to something else that writes.
    awaited: What a coroutine calls is awaited.
    acks: A caller can learn that a record was delivered.
    """

    structured: bool
    queued: bool = False
    awaited: bool = False
    acks: bool = False


class Unsupported(Exception):
    """The library has no such thing; the row says so with the text of this."""


class Adapter(Protocol):
    """
    One library, as a program uses it.

    One instance serves one process: `setup`, `setup_stream` or their `a` twins is called
    once, `close` or `aclose` once at the end. The twins are called on the running
    loop. A method that the library has nothing for raises `Unsupported`.

    name: What the library is called in tables.
    plain: Whether it can be called outside an event loop.
    modules: What a program has imported by the time that it has a logger.
    page: The documentation that the set-up follows.
    promises: What it promises. Where `awaited` is True, calls that are made on a loop
        (after `asetup`) return something to await; after `setup` they never do.
    debug, info, error, critical: `info(message, seq=, user=, path=, status=, ms=)`.
        Bound once it is set up, so that a program takes each of them once.
    """

    name: ClassVar[str]
    plain: ClassVar[bool]
    modules: ClassVar[tuple[str, ...]]
    page: ClassVar[str]
    promises: ClassVar[Promises]
    debug: Callable[..., Any]
    info: Callable[..., Any]
    error: Callable[..., Any]
    critical: Callable[..., Any]

    def version(self) -> str:
        """Return the version that is installed."""

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        """Log from *level* up ("info") to the file *path*, and to those in *also*."""

    def setup_stream(self, stream: TextIO, level: str) -> None:
        """Log from *level* up to *stream*, which may be `sys.stdout`."""

    def asetup(self, path: str, level: str) -> Awaitable[None]:
        """As `setup`, for a program that logs on the running loop."""

    def asetup_stream(self, stream: TextIO, level: str) -> Awaitable[None]:
        """As `setup_stream`, for a program that logs on the running loop."""

    def bound(self, **fields: object) -> Callable[..., Any]:
        """Return the `info` of a logger with *fields* bound to it."""

    def context(self, **fields: object) -> AbstractContextManager[object]:
        """Put *fields* on every record that is logged inside."""

    def close(self) -> None:
        """Write what is queued, then let go of the files, as the documentation says."""

    def aclose(self) -> Awaitable[None]:
        """As `close`, on the running loop."""

    def files(self, path: str) -> list[str]:
        """Return the files that a program with `setup(path)` wrote, in order."""

    def parse(self, line: bytes) -> Read:
        """
        Return what *line* says.

        Raises:
            ValueError: If it is no whole record with all its fields.
        """


class Peer(Adapter):
    """
    What most adapters have in common.

    Args of the class: `package`, the distribution, where it is not called as the adapter.
    """

    package: ClassVar[str] = ""
    plain: ClassVar[bool] = True
    modules: ClassVar[tuple[str, ...]] = ()

    def version(self) -> str:
        # Here, since it takes longer to import than some of the libraries.
        import importlib.metadata

        return importlib.metadata.version(self.package or self.name)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        raise Unsupported("logs on an event loop only")

    def setup_stream(self, stream: TextIO, level: str) -> None:
        raise Unsupported("writes to files only")

    async def asetup(self, path: str, level: str) -> None:
        self.setup(path, level)

    async def asetup_stream(self, stream: TextIO, level: str) -> None:
        self.setup_stream(stream, level)

    def bound(self, **fields: object) -> Callable[..., Any]:
        raise Unsupported("has no bound fields")

    def context(self, **fields: object) -> AbstractContextManager[object]:
        raise Unsupported("has no context fields")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        self.close()

    def files(self, path: str) -> list[str]:
        return [path]

    def parse(self, line: bytes) -> Read:
        return read_text(line)

    def _take(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]], logger: Any) -> None:
        """Bind the four calls: those of *logger*, each through *wrap*."""
        self.debug = wrap(logger.debug)
        self.info = wrap(logger.info)
        self.error = wrap(logger.error)
        self.critical = wrap(logger.critical)


def itself(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call that takes fields as it is."""
    return call


def as_text(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return *call*, which takes a format and arguments as `logging` does, with fields."""

    def log(message: str, *, seq: int, user: str, path: str, status: int, ms: float) -> Any:
        return call(TEXT, message, seq, user, path, status, ms)

    return log


def read_text(line: bytes) -> Read:
    """Return what a line of text says; its level stands in front of the message."""
    text = line.decode()
    match = _TEXT.search(text)
    if match is None or not text.isprintable():
        raise ValueError("no whole record")
    level = next((word for word in _words(text[: match.start()]) if word in _LEVELS), None)
    if level is None:
        raise ValueError("no level")
    return int(match[1]), _LEVELS[level]


_LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "warn": "warning",
    "error": "error",
    "critical": "critical",
    "fatal": "critical",
}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def read_fields(fields: Any, level: object) -> Read:
    """Return what a record with these *fields* says, once all five are seen to be whole."""
    kinds = {"seq": int, "user": str, "path": str, "status": int, "ms": float}
    whole = isinstance(fields, dict) and all(
        isinstance(fields.get(name), kind) for name, kind in kinds.items()
    )
    if not whole or not isinstance(level, str) or level.lower() not in _LEVELS:
        raise ValueError("no whole record")
    return fields["seq"], _LEVELS[level.lower()]


def read_json(line: bytes, level: str = "level") -> Read:
    """Return what a line of JSON says that has the fields, and its *level*, at the top."""
    record = json.loads(line)
    return read_fields(record, record[level])
