"""
Run the program once with one library and one fault, start it again, and see what is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from .. import peers
from ..peers.adapter import Adapter
from ..producing import PATH
from ..runner import _end, _environment
from .board import Acknowledged, Board, Slot
from .faults import BOUND, UNREAD, Fault
from .program import NEXT_STREAM, PIPE, UNSUPPORTED

_START: Final = 60.0
"""Seconds in which a library has to be set up."""
_NEXT: Final = 30.0
"""Seconds that the next start of the program may take."""
_READ: Final = "read.jsonl"
"""What came out of the pipe."""


@dataclass(frozen=True, slots=True)
class Case:
    """A library, how the program calls it, and what happens."""

    library: str
    style: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Found:
    """
    What became of the records of one program.

    Args:
        error_kept, error_acknowledged: ERRORs that are there, of those acknowledged.
        info_kept, info_acknowledged: The same for INFO.
        twice: Lines that repeat a record.
        torn: Lines that are no whole record.
        said: How many lost records the library told of itself.
        raised: Calls that raised into the program.
        worst_ms: The longest call. One that never returned lasted until the end.
        ended_s: From the last call to the end of the process; None when it was killed.
        hung: Children that hung and were killed; of a fork only.
        stall_ms, without_ms: Of the event loop, with logging and without.
    """

    error_kept: int
    error_acknowledged: int
    info_kept: int
    info_acknowledged: int
    twice: int
    torn: int
    said: int
    raised: int
    worst_ms: float
    ended_s: float | None
    hung: int | None = None
    stall_ms: float | None = None
    without_ms: float | None = None


def row(case: Case, python: str) -> dict[str, Any]:
    """Return what was found, or why there is nothing: `unsupported` or `failed`."""
    directory = tempfile.mkdtemp(prefix="hydra-score-")
    try:
        return _Play(case, python, directory).row()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Play:
    def __init__(self, case: Case, python: str, directory: str) -> None:
        self._case, self._python, self._directory = case, python, directory
        self._over = threading.Event()

    def row(self) -> dict[str, Any]:
        fault = self._case.fault
        with Board(self._at("board"), fault.records) as board:
            status, ended = self._run(board)
            if status == UNSUPPORTED:
                return {"unsupported": self._said().strip().splitlines()[-1]}
            if not board.get(Slot.BEGAN):
                last = self._said().strip().splitlines()[-1:]
                return {"failed": f"ended with status {status}: {''.join(last)}"[:300]}
            if self._case.library == peers.HYDRA:
                self._start_again()
            return asdict(self._found(board, ended))

    def _run(self, board: Board) -> tuple[int, int | None]:
        """Run the program; return its status and when it ended by itself."""
        case, target = self._case, self._case.fault.target
        environment = _environment(self._directory)
        reading = writing = -1
        if target in {"pipe", "stdout"}:
            reading, writing = os.pipe()
            environment[PIPE] = str(writing)
        with open(self._at("stderr"), "wb") as errors:
            process = subprocess.Popen(
                self._command(case.fault.name),
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=writing if target == "stdout" else subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(writing,) if target == "pipe" else (),
                start_new_session=True,
            )
        if writing >= 0:
            os.close(writing)
        reader = None
        if target == "stdout":
            reader = threading.Thread(target=self._read, args=(reading, board))
            reader.start()
        ended = _watch(process, board)
        _end(process)
        self._over.set()
        if board.get(Slot.CALLING):
            # It never returned.
            board.put(Slot.WORST, time.monotonic_ns() - board.get(Slot.CALLING))
        if reader is not None:
            reader.join()
        elif reading >= 0:
            self._read(reading, None)
        return process.returncode, ended

    def _read(self, reading: int, board: Board | None) -> None:
        """Read a pipe to its end: at once, or with a *board* when nobody did for long enough."""
        if board is not None:
            while not board.get(Slot.BEGAN) and not self._over.wait(0.01):
                pass
            self._over.wait(UNREAD)
        with open(self._at(_READ), "wb") as file:
            while some := os.read(reading, 1 << 16):
                file.write(some)
        os.close(reading)

    def _command(self, what: str) -> list[str]:
        case = self._case
        module = "benchmarks.scoreboard.program"
        return [self._python, "-m", module, case.library, case.style, what]

    def _start_again(self) -> None:
        """Start the program once more: the disk has room, the sink takes what it is given."""
        if self._case.fault.target == "full":
            os.unlink(self._at(PATH))
        with open(self._at("stderr"), "ab") as errors:
            subprocess.run(
                self._command(f"next:{self._case.fault.target}"),
                cwd=self._directory,
                env=_environment(self._directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                timeout=_NEXT,
                check=True,
            )

    def _found(self, board: Board, ended: int | None) -> Found:
        case = self._case
        adapter = peers.load(case.library)
        there, twice, torn, said = _lines(adapter, self._files(adapter))
        errors = board.acknowledged(Acknowledged.ERROR)
        infos = board.acknowledged(Acknowledged.INFO)
        done = board.get(Slot.DONE)
        on_loop = case.fault.target == "stdout"
        return Found(
            error_kept=len(errors & there),
            error_acknowledged=len(errors),
            info_kept=len(infos & there),
            info_acknowledged=len(infos),
            twice=twice,
            torn=torn,
            said=said + board.get(Slot.SAID) + told(self._said()),
            raised=board.get(Slot.RAISED),
            worst_ms=round(board.get(Slot.WORST) / 1e6, 2),
            ended_s=None if ended is None else round(max(ended - done, 0) / 1e9, 2),
            hung=board.get(Slot.HUNG) if case.fault.name == "fork" else None,
            stall_ms=round(board.get(Slot.STALL) / 1e6, 1) if on_loop else None,
            without_ms=round(board.get(Slot.WITHOUT) / 1e6, 1) if on_loop else None,
        )

    def _files(self, adapter: Adapter) -> list[str]:
        if self._case.fault.target in {"pipe", "stdout"}:
            return [self._at(_READ), self._at(NEXT_STREAM)]
        if self._case.fault.target == "flaky":
            return [self._at(PATH), self._at(NEXT_STREAM)]
        # What a device "has" is nothing, and reading it never ends.
        return [f for f in adapter.files(self._at(PATH)) if os.path.isfile(f)]

    def _at(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _said(self) -> str:
        return Path(self._at("stderr")).read_text(encoding="utf-8", errors="replace")


def _watch(process: subprocess.Popen[bytes], board: Board) -> int | None:
    """Wait for the end of the process, within its bounds; return when that was."""
    started = time.monotonic_ns()
    while True:
        if process.poll() is not None:
            return time.monotonic_ns()
        began = board.get(Slot.BEGAN)
        until = began + int(BOUND * 1e9) if began else started + int(_START * 1e9)
        if time.monotonic_ns() > until:
            return None
        time.sleep(0.002)


def told(errors: str) -> int:
    """
    Return how many lost records a library told of on standard error.

    One for each: the standard library's `logging` and those that follow it print a
    traceback with this heading for every record that a handler could not write.
    """
    return sum(
        line.startswith(("--- Logging error", "Logged from file")) for line in errors.splitlines()
    )


def _lines(adapter: Adapter, files: Iterable[str]) -> tuple[set[int], int, int, int]:
    """Return the records in *files*, lines that repeat one, torn lines, and drops declared."""
    there: set[int] = set()
    twice = torn = said = 0
    for path in files:
        if not os.path.exists(path):
            continue
        with open(path, "rb") as file:
            for line in file:
                try:
                    read = adapter.parse(line.rstrip(b"\n")) if line.endswith(b"\n") else ()
                except (ValueError, LookupError, TypeError):
                    read = ()
                if read == ():
                    torn += 1
                elif read is None:
                    said += _declared(line)
                else:
                    twice += read[0] in there
                    there.add(read[0])
    return there, twice, torn, said


def _declared(line: bytes) -> int:
    """Return how many records a control record of hydra's says were dropped."""
    record = json.loads(line)
    return int(record["count"]) if record.get("event") == "drops" else 0
