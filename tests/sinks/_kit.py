"""
What the tests of failing destinations share: sinks that misbehave, and patience.

Rule: nothing here sleeps for a while and hopes; `until` looks for one fact and
gives up with a sentence that names it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import hydra
from fallbacks.outcomes import Delivered, Partial

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10.0


class Odd(BaseException):
    """An exception that no `except Exception` sees."""


RAISED: tuple[BaseException, ...] = (
    ValueError("no"),
    SystemExit(3),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
    MemoryError(),
    Odd("odd"),
    StopIteration(),
    RecursionError(),
)
ANSWERED: tuple[object, ...] = (
    7,
    True,
    "ok",
    Delivered(prefix=10_000),
    Delivered(prefix=-1),
    Partial([0, 0]),
    Partial([10_000]),
)


class Sink:
    """
    A sink that misbehaves until it is healed.

    Args:
        fault: Raised when it is an exception, returned when it is not.
    """

    def __init__(self, fault: object) -> None:
        self.fault = fault
        self.lines: list[bytes] = []
        self.calls = 0

    def heal(self) -> None:
        """From now on, take everything."""
        self.fault = None

    def write(self, lines: list[bytes]) -> object:
        """Be a sync sink."""
        self.calls += 1
        if isinstance(self.fault, BaseException):
            raise self.fault
        if self.fault is None:
            self.lines += lines
        return self.fault

    async def awrite(self, lines: list[bytes]) -> object:
        """Be an async sink."""
        await asyncio.sleep(0)
        return self.write(lines)

    def as_kind(self, kind: str) -> Callable[[list[bytes]], object]:
        """Return the sync or the async sink."""
        return self.write if kind == "sync" else self.awrite


class Hanging:
    """
    A sink that hangs until it is released, in one of several ways.

    `sync` waits for a thread's event, `async` for one of the loop, `deaf` does
    that and ignores its cancellation, `blocking` blocks the loop itself.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.lines: list[bytes] = []
        self.free = threading.Event()
        self.hung = threading.Event()

    def sink(self) -> Callable[[list[bytes]], object]:
        """Return the function to configure."""
        ways: dict[str, Callable[[list[bytes]], object]] = {
            "sync": self._sync,
            "async": self._async,
            "deaf": self._deaf,
            "blocking": self._blocking,
        }
        return ways[self.kind]

    def release(self) -> None:
        """Let every call go on, now and later."""
        self.free.set()

    def _sync(self, lines: list[bytes]) -> None:
        self.hung.set()
        self.free.wait()
        self.lines += lines

    async def _async(self, lines: list[bytes]) -> None:
        self.hung.set()
        while not self.free.is_set():
            await asyncio.sleep(0.01)
        self.lines += lines

    async def _deaf(self, lines: list[bytes]) -> None:
        self.hung.set()
        while not self.free.is_set():
            try:
                await asyncio.Event().wait() if not self.free.is_set() else None
            except asyncio.CancelledError:
                await self._until_free()
        self.lines += lines

    async def _until_free(self) -> None:
        while not self.free.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    async def _blocking(self, lines: list[bytes]) -> None:
        self._sync(lines)


def until(fact: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> float:
    """Wait until *fact* holds; return the seconds that took."""
    never = threading.Event()
    began = monotonic()
    while not fact():
        waited = monotonic() - began
        assert waited < seconds, f"after {seconds:g} s still not: {what}; {hydra.stats()}"
        never.wait(0.002)
    return monotonic() - began


async def until_async(fact: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> float:
    """As `until`, on a running loop of asyncio."""
    began = monotonic()
    while not fact():
        waited = monotonic() - began
        assert waited < seconds, f"after {seconds:g} s still not: {what}; {hydra.stats()}"
        await asyncio.sleep(0.002)
    return monotonic() - began


def of(name: str) -> Any:
    """Return the statistics of the destination *name*."""
    return hydra.stats().destinations[name]


def records(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return *lines* parsed, blank ones left out."""
    return [json.loads(line) for line in lines if line.strip()]


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the records of the file at *path*, blank lines left out."""
    return records(Path(path).read_bytes().splitlines())


def numbers(found: Sequence[dict[str, Any]]) -> list[int]:
    """Return the field `n` of each record that has one, in order."""
    return [record["n"] for record in found if "n" in record]


def held_files() -> list[str]:
    """Return the files of held lines in the test's own state directory."""
    state = Path(os.environ["HYDRA_STATE_DIR"])
    return sorted(path.name for path in state.rglob("*.held")) if state.is_dir() else []


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYDRA_STATE_DIR": os.environ["HYDRA_STATE_DIR"],
    }


def start_program(source: str, *args: object) -> subprocess.Popen[bytes]:
    """Start *source* as `run_program` does, between three pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *map(str, args)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run_program(
    source: str, *args: object, seconds: float = 30, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run *source* with this interpreter in an environment of its own, to its end."""
    environment = _environment() | options.pop("env", {})
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(
        [sys.executable, "-c", source, *map(str, args)],
        env={name: value for name, value in environment.items() if value is not None},
        timeout=seconds,
        check=False,
        **options,
    )


Call = Callable[[Awaitable[object]], Awaitable[object]]
