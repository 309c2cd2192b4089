"""
The program that things happen to: `python -m benchmarks.scoreboard.program LIBRARY STYLE FAULT`.

STYLE is `plain`, or `awaited` for a program on an event loop. FAULT is one of the table,
or `next:TARGET` for the next start of the program: set up, then close. It runs in a
directory of its own, in which `board` is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO, cast

from .. import peers
from ..peers.adapter import FIELDS, MESSAGE, Adapter
from ..producing import PATH, run
from .board import Acknowledged, Board, Slot
from .faults import UNREAD, Fault, is_error, named

UNSUPPORTED: Final = 77
"""The exit status of a program whose library has no such thing; stderr says what."""
PIPE: Final = "SCOREBOARD_PIPE"
"""The variable with the descriptor of the pipe that nobody reads."""
NEXT_STREAM: Final = "next.jsonl"
_CHILDREN, _OF_CHILD, _THREADS = 8, 20, 4
_CHILD_SECONDS = 2.0
_REPLAYED = 20.0


class Flaky:
    """A stream, of text or (`buffer`) of bytes, that raises once."""

    def __init__(self, path: str, at: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._writes, self._at = 0, at
        self.buffer = self
        self.encoding = "utf-8"
        self.closed = False
        self.name = path

    def write(self, data: str | bytes) -> int:
        self._writes += 1
        if self._writes == self._at:
            raise OSError(5, "Input/output error (made up)")
        os.write(self._fd, data.encode() if isinstance(data, str) else data)
        return len(data)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class Caller:
    """Makes the calls, and writes down on the board what came of them."""

    def __init__(self, adapter: Adapter, fault: Fault, board: Board) -> None:
        self._adapter, self._fault, self.board = adapter, fault, board

    def _began(self, seq: int) -> tuple[Callable[..., Any], Acknowledged, int]:
        error = is_error(self._fault, seq)
        now = time.monotonic_ns()
        if not self.board.get(Slot.BEGAN):
            self.board.put(Slot.BEGAN, now)
        self.board.put(Slot.CALLING, now)
        call = self._adapter.error if error else self._adapter.info
        return call, Acknowledged.ERROR if error else Acknowledged.INFO, now

    def _ended(self, began: int) -> None:
        board, took = self.board, time.monotonic_ns() - began
        board.put(Slot.CALLING, 0)
        if took > board.get(Slot.WORST):
            board.put(Slot.WORST, took)

    def call(self, seq: int) -> None:
        call, kind, began = self._began(seq)
        try:
            call(MESSAGE, seq=seq, **FIELDS)
        except Exception:
            self.board.put(Slot.RAISED, self.board.get(Slot.RAISED) + 1)
        else:
            self.board.acknowledge(seq, kind)
        self._ended(began)

    async def acall(self, seq: int) -> None:
        call, kind, began = self._began(seq)
        try:
            said = call(MESSAGE, seq=seq, **FIELDS)
            if self._adapter.promises.awaited and said is not None:
                await said
        except Exception:
            self.board.put(Slot.RAISED, self.board.get(Slot.RAISED) + 1)
        else:
            self.board.acknowledge(seq, kind)
        self._ended(began)

    def done(self) -> None:
        self.board.put(Slot.DONE, time.monotonic_ns())


def _target(adapter: Adapter, target: str) -> TextIO | None:
    """
    Return the stream that is logged to; None where it is a file.

    Raises:
        Unsupported: If the library cannot be given a full file.
    """
    if target == "full" and adapter.files(PATH) != [PATH]:
        raise peers.Unsupported("chooses its files itself; it cannot be given one that is full")
    return _stream(target)


def _stream(target: str) -> TextIO | None:
    if target == "flaky":
        return cast("TextIO", Flaky(PATH, at=5))
    if target == "pipe":
        return os.fdopen(int(os.environ[PIPE]), "w")
    if target == "stdout":
        return sys.stdout
    if target == "next":
        return open(NEXT_STREAM, "a", encoding="utf-8")
    if target == "full":
        # Not the device itself: some libraries make files beside the one they are given.
        os.symlink("/dev/full", PATH)
    return None


def _end(how: str) -> None:
    """Come to the end that the fault is called after, where it is one."""
    if how in {"sigkill", "sigterm"}:
        os.kill(os.getpid(), signal.SIGKILL if how == "sigkill" else signal.SIGTERM)
        # Some threads may run on until the signal has reached all of them.
        time.sleep(60)
    elif how == "os-exit":
        os._exit(0)
    elif how == "uncaught":
        raise RuntimeError("the program has failed")


_UNCLOSED = ("sigkill", "sigterm", "os-exit", "uncaught", "no-close")


def plain(adapter: Adapter, fault: Fault, caller: Caller) -> None:
    """Run the program without an event loop."""
    stream = _target(adapter, fault.target)
    if stream is None:
        adapter.setup(PATH, "info")
    else:
        adapter.setup_stream(stream, "info")
    if fault.name == "fork":
        _fork(adapter, fault, caller)
    else:
        for seq in range(fault.records):
            caller.call(seq)
    caller.done()
    _end(fault.name)
    if fault.name not in _UNCLOSED:
        adapter.close()


def _fork(adapter: Adapter, fault: Fault, caller: Caller) -> None:
    """Log in threads, and fork meanwhile."""
    rest = fault.records - _CHILDREN * _OF_CHILD

    def load(first: int) -> None:
        for seq in range(first, rest, _THREADS):
            caller.call(seq)
            # So that there is something under way at each of the forks.
            time.sleep(0.0005)

    threads = [threading.Thread(target=load, args=(n,)) for n in range(_THREADS)]
    for thread in threads:
        thread.start()
    hung = 0
    for number in range(_CHILDREN):
        pid = os.fork()
        if pid == 0:
            first = rest + number * _OF_CHILD
            for seq in range(first, first + _OF_CHILD):
                caller.call(seq)
            adapter.close()
            os._exit(0)
        hung += _waited(pid)
    for thread in threads:
        thread.join()
    caller.board.put(Slot.HUNG, hung)


def _waited(pid: int) -> bool:
    """Wait for a child; kill it, and say so, when it hangs."""
    until = time.monotonic() + _CHILD_SECONDS
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


async def awaited(adapter: Adapter, fault: Fault, caller: Caller) -> None:
    """Run the program on an event loop."""
    if fault.name == "fork":
        raise peers.Unsupported("a child cannot go on with the event loop of its parent")
    if fault.name == "stdout":
        _, without = await _beside_heartbeat(_nothing, fault, 0.5)
        caller.board.put(Slot.WITHOUT, without)
    stream = _target(adapter, fault.target)
    if stream is None:
        await adapter.asetup(PATH, "info")
    else:
        await adapter.asetup_stream(stream, "info")
    if fault.name == "stdout":
        _, stall = await _beside_heartbeat(caller.acall, fault, UNREAD + 0.5)
        caller.board.put(Slot.STALL, stall)
    else:
        for seq in range(fault.records):
            await caller.acall(seq)
    caller.done()
    _end(fault.name)
    if fault.name not in _UNCLOSED:
        await adapter.aclose()


async def _nothing(seq: int) -> None:
    """Stand in for a call of a logger."""


async def _beside_heartbeat(call: Callable[[int], Any], fault: Fault, seconds: float) -> Any:
    """Call about a thousand times a second; return how often, and the longest stall in ns."""
    stop = asyncio.Event()
    heart = asyncio.create_task(_heartbeat(stop))
    # Its first beat, so that a program that never yields is seen as one long stall.
    await asyncio.sleep(0.002)
    began = time.monotonic()
    seq = 0
    while (now := time.monotonic()) < began + seconds and seq < fault.records:
        # What is due; after a stall not all at once, which would be another program.
        for _ in range(min(int((now - began) * 1000) - seq, 50, fault.records - seq)):
            await call(seq)
            seq += 1
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    stop.set()
    return seq, await heart


async def _heartbeat(stop: asyncio.Event) -> int:
    longest, interval = 0, 0.001
    while not stop.is_set():
        began = time.monotonic_ns()
        await asyncio.sleep(interval)
        longest = max(longest, time.monotonic_ns() - began - int(interval * 1e9))
    return longest


def _next(adapter: Adapter, target: str) -> None:
    """Start, stay until what the first start left behind is delivered, and close."""
    left = list(_segments())
    stream = None if target in {"file", "full"} else _stream("next")
    if stream is None:
        adapter.setup(PATH, "info")
    else:
        adapter.setup_stream(stream, "info")
    until = time.monotonic() + _REPLAYED
    while any(map(os.path.exists, left)) and time.monotonic() < until:
        time.sleep(0.01)
    adapter.close()


def _segments() -> Iterator[str]:
    """Yield the journal and held segments of hydra's."""
    for folder, _, names in os.walk(os.environ["HYDRA_STATE_DIR"]):
        yield from (os.path.join(folder, n) for n in names if n.endswith((".j", ".held")))


def main(library: str, style: str, what: str) -> None:
    """Run the program. How it ends is up to the fault, and to the library."""
    adapter = peers.load(library)
    if what.startswith("next:"):
        _next(adapter, what.partition(":")[2])
        return
    fault = named(what)
    board = Board("board")
    caller = Caller(adapter, fault, board)
    try:
        if style == "awaited":
            run(awaited(adapter, fault, caller))
        else:
            plain(adapter, fault, caller)
    except peers.Unsupported as error:
        print(error, file=sys.stderr)
        sys.stderr.flush()
        os._exit(UNSUPPORTED)
    board.put(Slot.SAID, int(getattr(adapter, "lost", 0)))


if __name__ == "__main__":
    main(*sys.argv[1:])
