"""
Programs that die, and the world they die in.

A test writes what a process does, lets it run and end in some way, and looks at
what is left: the log, the state directory, the exit status, what it said on
standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(__file__).parent

# Longer than any program takes on a busy machine, shorter than the bound on a test.
PATIENCE = 40.0

START = """
import os, sys, hydra
hydra.configure(
    app="shop", level="debug", state_dir={state!r},
    destinations=[{{"name": "app", "type": "file", "path": {path!r}}}],
)
log = hydra.get_logger("shop")
"""

# Runs `scenario(call)` of a program in the style that is its first argument.
STYLED = """
from tests._frontier import CallStyle
CallStyle(sys.argv[1]).run(scenario)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that is over."""

    status: int
    stdout: str
    stderr: str
    seconds: float


class World:
    """One log file and one state directory, and the processes that share them."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path
        self.path = tmp_path / "app.log"
        self.state = tmp_path / "state"

    @property
    def environment(self) -> dict[str, str]:
        """What a process gets to see; nothing of the user's own."""
        names = {"PATH", "COVERAGE_PROCESS_START", "HYDRA_PURE_PYTHON"}
        kept = {name: value for name, value in os.environ.items() if name in names}
        return kept | {"PYTHONPATH": str(ROOT), "HOME": str(self.directory), "LC_ALL": "C.UTF-8"}

    @property
    def start(self) -> str:
        """The first lines of a program that logs into this world."""
        return START.format(state=str(self.state), path=str(self.path))

    def command(self, source: str, *arguments: object, start: bool = True) -> list[str]:
        """Write a program of *source* to a file and return the command that runs it."""
        text = (self.start if start else "") + textwrap.dedent(source)
        program = self.directory / f"program{len(list(self.directory.glob('program*.py')))}.py"
        program.write_text(text)
        return [sys.executable, "-W", "error", str(program), *map(str, arguments)]

    def popen(self, source: str, *arguments: object, start: bool = True, **more):
        """Start a program and return it running, its output in pipes."""
        return subprocess.Popen(
            self.command(source, *arguments, start=start),
            env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, **more,
        )  # fmt: skip

    def run(self, source: str, *arguments: object, start: bool = True, **more) -> Ended:
        """Run a program to its end."""
        began = time.perf_counter()
        done = subprocess.run(
            self.command(source, *arguments, start=start),
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, check=False, **more,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr, time.perf_counter() - began)

    def traced(
        self, source: str, *arguments: object, calls: str, inject: str, path: Path | None = None
    ) -> Ended:
        """
        Run a program under strace, which does something to its system calls.

        Args:
            source: The program.
            arguments: Its arguments.
            calls: The system calls concerned, as strace names them.
            inject: What is done, for example `error=EIO:when=3..5`. Threads count apart.
            path: Only calls that concern this file.
        """
        tracer = [
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"),
            *("-e", f"inject={calls}:{inject}"),
            *(() if path is None else ("-P", str(path))),
        ]
        began = time.perf_counter()
        done = subprocess.run(
            tracer + self.command(source, *arguments),
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr, time.perf_counter() - began)

    def recover(self, **more: object) -> None:
        """Be the next start of the application, in this process; then end cleanly."""
        import hydra
        from hydra.engine import ENGINE

        destination = {"name": "app", "type": "file", "path": str(self.path)}
        keywords = {"state_dir": str(self.state), "destinations": [destination]} | more
        hydra.configure(app="shop", level="debug", **keywords)
        hydra.flush(20.0)
        closed = hydra.close(20.0)
        ENGINE.reset()
        assert closed.balanced, closed

    def lines(self) -> list[bytes]:
        """The complete lines of the log."""
        if not self.path.exists():
            return []
        return [line for line in self.path.read_bytes().split(b"\n") if line]

    def records(self) -> list[dict]:
        """What the application logged, as far as it is in the log; torn lines are left out."""
        return [each for each in parsed(self.lines()) if each["logger"] != "hydra.ledger"]

    def messages(self) -> list[str]:
        """The messages of the records in the log, in their order."""
        return [each["message"] for each in self.records()]

    def twice(self) -> list[str]:
        """The ids that the log has more than once."""
        seen = Counter(each["id"] for each in parsed(self.lines()))
        return [name for name, times in seen.items() if times > 1]

    def left(self) -> list[str]:
        """The files in the state directory."""
        return sorted(
            str(path.relative_to(self.state)) for path in self.state.rglob("*") if path.is_file()
        )

    def directories(self) -> list[str]:
        """What there is in the state directory besides files."""
        return sorted(str(each.relative_to(self.state)) for each in self.state.rglob("*"))


def parsed(lines: list[bytes]) -> list[dict]:
    """Return the lines that are whole records."""
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "id" in record:
            found.append(record)
    return found


def torn(lines: list[bytes]) -> int:
    """Return how many lines are not whole records."""
    return len(lines) - len(parsed(lines))
