"""
A place for the product to run in: a directory, an environment, scripts and the command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
SECONDS = 30


@dataclass
class Place:
    """
    Where a process of a user runs.

    Args:
        directory: Its working directory.
        state: Its state directory.
    """

    directory: Path
    state: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """All that a process here is told; nothing of the environment of the tests."""
        measured = {key: value for key, value in os.environ.items() if key.startswith("COVERAGE_")}
        return {
            "HOME": str(self.directory),
            "PATH": os.defpath,
            "PYTHONPATH": str(TREE),
            "PYTHONWARNINGS": "error",
            "HYDRA_STATE_DIR": str(self.state),
            **measured,
            **self.extra,
        }

    def start(self, script: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start *script* and return its process."""
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, script: str, *arguments: object, status: int = 0) -> tuple[str, str]:
        """Run *script* to its end; return what it wrote to standard output and error."""
        with self.start(script, *arguments) as process:
            try:
                out, err = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert status == process.returncode, err.decode()
        return out.decode(), err.decode()

    def hydra(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return subprocess.run(
            [sys.executable, "-m", "hydra", *map(str, arguments)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def audit(self, *paths: object) -> dict[str, object]:
        """Run `hydra audit --json`; return the report with the exit status in `exit`."""
        done = self.hydra("audit", "--json", *paths)
        # A crash of Python has the status 1, too.
        assert (True, "") == (done.returncode in {0, 1}, done.stderr)
        return {**json.loads(done.stdout), "exit": done.returncode}

    def lines(self, name: str) -> list[dict[str, object]]:
        """Return the lines of the log file *name*, each of them parsed."""
        return [json.loads(line) for line in (self.directory / name).read_bytes().splitlines()]

    def records(self, name: str) -> list[dict[str, object]]:
        """Return the lines of the log file *name* without the control records."""
        return [line for line in self.lines(name) if line["logger"] != "hydra.ledger"]

    def files(self) -> list[Path]:
        """Return every file here and in the state directory."""
        roots = (self.directory, self.state)
        return [path for root in roots for path in root.rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return an empty place."""
    # Where conftest of all tests puts the state of this process, too.
    return Place(tmp_path, tmp_path.with_name(tmp_path.name + ".state") / "hydra")


def facts(report: dict[str, object], *names: str) -> dict[str, object]:
    """Return some entries of an audit report."""
    return {name: report[name] for name in names}
