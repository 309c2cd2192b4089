"""
What all programs have in common: a record to log, ways to log many, a pipe that hangs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, TextIO, TypeVar

from .peers.adapter import FIELDS, MESSAGE, Adapter, Unsupported
from .verify import STRIDE

PATH: Final = "app.jsonl"
"""The file that a program logs to, in the directory that it runs in."""

_T = TypeVar("_T")
WARM: Final = 1_000
"""Records that are logged before the clock starts."""
SETTLE: Final = 0.25
"""Seconds after that: what a library does once, it has done, and nothing waits in a queue."""

_CHUNK = 50


def run(program: Coroutine[Any, Any, _T]) -> _T:
    """Run *program* on uvloop, as a service does."""
    import uvloop

    return uvloop.run(program)


def need_plain(adapter: Adapter) -> None:
    """
    See that a library can be called outside an event loop.

    Raises:
        Unsupported: If it cannot.
    """
    if not adapter.plain:
        raise Unsupported("logs on an event loop only")


def produce(
    info: Callable[..., Any],
    seconds: float,
    producer: int = 0,
    *,
    made: int = 0,
    most: int = STRIDE,
) -> int:
    """
    Log for *seconds*, or until there are *most* records; return how many there are.

    *made* of them were logged before.
    """
    seq = first = producer * STRIDE
    seq += made
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and seq - first < most:
        for _ in range(_CHUNK):
            info(MESSAGE, seq=seq, **FIELDS)
            seq += 1
    return seq - first


async def produce_on_loop(
    info: Callable[..., Any],
    awaited: bool,
    seconds: float,
    producer: int = 0,
    *,
    made: int = 0,
    most: int = STRIDE,
    chunk: int = _CHUNK,
    turn: float = 0.001,
) -> int:
    """
    As `produce`, for calls that are made in a coroutine, and awaited where they can be.

    The loop gets a turn after the first *chunk* that ends *turn* seconds after the last.
    """
    # Here: it brings `logging` along, which memory and start of a script must not have yet.
    from asyncio import sleep

    seq = first = producer * STRIDE
    seq += made
    now = time.perf_counter()
    end, due = now + seconds, now + turn
    while now < end and seq - first < most:
        for _ in range(chunk):
            said = info(MESSAGE, seq=seq, **FIELDS)
            # Some give nothing to await where the level is off.
            if awaited and said is not None:
                await said
            seq += 1
        now = time.perf_counter()
        if now >= due:
            await sleep(0)
            due = now + turn
    return seq - first


class Stuck:
    """
    A pipe that nobody reads until some time after `hang`; then all of it goes into a file.

    `stream` is its writing end. Use it as a context manager: on leaving, the writing end
    is closed and the reader waited for.
    """

    def __init__(self, path: str, *, stdout: bool = False) -> None:
        self.path = path
        reading, writing = os.pipe()
        self._reading = reading
        if stdout:
            # Before the library is imported, as a supervisor would have set it up.
            os.dup2(writing, 1)
            os.close(writing)
            import sys

            self.stream: TextIO = sys.stdout
        else:
            self.stream = os.fdopen(writing, "w")
        self._stdout = stdout
        self._open = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def hang(self, seconds: float) -> None:
        """Hang for *seconds* more."""
        timer = threading.Timer(seconds, self._open.set)
        timer.daemon = True
        timer.start()

    @property
    def hanging(self) -> bool:
        """Whether still nobody reads."""
        return not self._open.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        # Some libraries close what they were given.
        if not self.stream.closed:
            (self.stream.flush if self._stdout else self.stream.close)()
        if self._stdout:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)
        self._reader.join(10.0)

    def _read(self) -> None:
        self._open.wait()
        with open(self.path, "wb") as file:
            while True:
                some = os.read(self._reading, 1 << 16)
                if not some:
                    break
                file.write(some)
        os.close(self._reading)
