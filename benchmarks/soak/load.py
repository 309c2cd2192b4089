"""
The loaded process: `python -m benchmarks.soak.load DIRECTORY STRATEGY PRODUCERS`.

Threads and tasks log, plainly and awaited, through loggers and a front. One line of JSON a
second on standard output says how it goes; lines on standard input say what to do: `fork`,
`flood`, `configure STRATEGY`, `stop`. The sink looks at one byte of `gate`, which the supervisor
turns.

An ERROR that is in the kernel, as its receipt says, is written down in `acknowledged`.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import hydra

OPEN, DOWN, HANGS = 0, 1, 2
"""What the byte of the gate says."""
EVERY: Final = 10
"""One record of so many is an ERROR."""
DRAIN: Final = 60.0
"""Seconds in which all that waits has to be delivered once all is well."""
FLOOD: Final = 20_000
STILL: Final = 15.0
"""Seconds without any progress after which what is held is left to the next start."""
_BURST = 10
_CHILD_RECORDS = 50
_CHILD_SECONDS = 30.0
_PAUSE = 0.04


class Load:
    """
    One life of the loaded process.

    Args:
        directory: Where everything is.
        strategy: Of both destinations, to begin with.
    """

    def __init__(self, directory: str, strategy: str) -> None:
        self._at = Path(directory)
        with open(self._at / "gate", "r+b") as file:
            self._gate = mmap.mmap(file.fileno(), 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._acknowledged = os.open(self._at / "acknowledged", flags, 0o600)
        self._sink = os.open(self._at / "sink.jsonl", flags, 0o600)
        self._stop = threading.Event()
        self._calls: dict[str, int] = {}
        self._hung = 0
        self.configure(strategy)
        self._front = hydra.HydraLogger(
            app="soak",
            name="front",
            state_dir=str(self._at / "state"),
            destinations=[{"name": "front", "type": "file", "path": str(self._at / "front.log")}],
        )

    def configure(self, strategy: str) -> None:
        """Configure; again, while everything runs."""
        copies: list[Any] = [{"type": "file"}]
        if strategy in {"mirror", "quorum"}:
            path = str(self._at / "mirror" / "app.log")
            copies = [{"type": "file", "path": path, "hold": False}, *copies]
        hydra.configure(
            app="soak",
            state_dir=str(self._at / "state"),
            destinations=[
                {
                    "name": "app",
                    "type": "file",
                    "path": str(self._at / "disk" / "app.log"),
                    "strategy": strategy,
                    "fallback": copies,
                    "retries": 0,
                },
                hydra.Destination(
                    self.send,
                    name="sink",
                    timeout=1.0,
                    retries=0,
                    strategy="spool" if strategy == "spool" else "failover",
                    fallback=[{"type": "file"}],
                    # So that there are drops to declare.
                    queue={"records": 2000, "when_full": "drop_new"},
                ),
            ],
        )

    def send(self, lines: list[bytes]) -> None:
        """Be the sink."""
        while self._gate[0] == HANGS:
            time.sleep(0.01)
        if self._gate[0] == DOWN:
            raise ConnectionError("the sink is down")
        os.write(self._sink, b"".join(lines))

    # -- producers

    def _error(self, receipt: Any, where: str) -> None:
        if receipt.id is not None and receipt.durability is not hydra.Durability.QUEUED:
            os.write(self._acknowledged, f"{where} {receipt.id}\n".encode())

    def _burst(self, name: str, info: Callable[..., Any], error: Callable[..., Any]) -> None:
        where = "front" if name == "front" else "app"
        for number in range(_BURST):
            if number % EVERY:
                info("order placed", number=number, by=name, ms=12.5)
            else:
                self._error(error("payment refused", number=number, by=name), where)
            self._calls[name] = self._calls.get(name, 0) + 1

    def _thread(self, name: str, info: Callable[..., Any], error: Callable[..., Any]) -> None:
        while not self._stop.wait(_PAUSE):
            self._burst(name, info, error)

    async def _task(self, name: str, *, awaited: bool) -> None:
        log = hydra.get_logger(name)
        while not self._stop.is_set():
            await asyncio.sleep(_PAUSE)
            if not awaited:
                self._burst(name, log.info, log.error)
                continue
            for number in range(_BURST):
                if number % EVERY:
                    await log.info("order placed", number=number, by=name, ms=12.5)
                else:
                    receipt = log.error("payment refused", number=number, by=name)
                    await receipt
                    self._error(receipt, "app")
                self._calls[name] = self._calls.get(name, 0) + 1

    async def _tasks(self) -> None:
        await asyncio.gather(
            *(self._task(f"task{n}", awaited=bool(n % 2)) for n in range(4)),
        )

    # -- the course of things

    def run(self, *, producers: bool) -> None:
        """Log until told to stop; then drain, close, and say how it ended."""
        logs = {f"thread{n}": hydra.get_logger(f"thread{n}") for n in range(3)}
        calls = {name: (log.info, log.error) for name, log in logs.items()}
        calls["front"] = (self._front.info, self._front.error)
        threads = [
            threading.Thread(target=self._thread, args=(name, *each))
            for name, each in calls.items()
        ]
        threads.append(threading.Thread(target=lambda: asyncio.run(self._tasks())))
        speaker = threading.Thread(target=self._speak, daemon=True)
        speaker.start()
        for thread in threads if producers else []:
            thread.start()
        if producers:
            self._obey()
        self._stop.set()
        for thread in threads if producers else []:
            thread.join()
        self._drain()
        hydra.flush(timeout=DRAIN)
        self._front.close()
        said = self._said(hydra.close(timeout=DRAIN))
        print(json.dumps({"final": True, **said}), flush=True)

    def _drain(self) -> None:
        """Wait until nothing waits any more, as long as it gets less."""
        least, until = None, time.monotonic() + DRAIN
        moved = time.monotonic()
        while (now := time.monotonic()) < until and now < moved + STILL:
            stats = hydra.stats()
            waiting = stats.pending + stats.held
            if not waiting:
                return
            if least is None or waiting < least:
                least, moved = waiting, now
            time.sleep(0.05)

    def _obey(self) -> None:
        for line in sys.stdin:
            what, _, how = line.strip().partition(" ")
            if what == "stop":
                return
            if what == "configure":
                self.configure(how)
            elif what == "fork":
                self._fork()
            elif what == "flood":
                info = hydra.get_logger("flood").info
                for number in range(FLOOD):
                    info("order placed", number=number, by="flood", ms=12.5)

    def _fork(self) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                log = hydra.get_logger("child")
                for _ in range(_CHILD_RECORDS // _BURST):
                    self._burst("child", log.info, log.error)
                hydra.close()
            finally:
                os._exit(0)
        until = time.monotonic() + _CHILD_SECONDS
        while time.monotonic() < until:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.01)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        self._hung += 1

    def _speak(self) -> None:
        while not self._stop.wait(0.5):
            print(json.dumps(self._said(hydra.stats())), flush=True)

    def _said(self, stats: Any) -> dict[str, Any]:
        return {
            "accepted": stats.accepted,
            "delivered": stats.delivered,
            "dropped": stats.dropped,
            "pending": stats.pending,
            "held": stats.held,
            "balanced": stats.balanced,
            "queued": sum(each.queued for each in stats.destinations.values()),
            "calls": dict(self._calls),
            "hung": self._hung,
        }


if __name__ == "__main__":
    Load(sys.argv[1], sys.argv[2]).run(producers=sys.argv[3] == "yes")
