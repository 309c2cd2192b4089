"""
The environment of the peers: `.venv-peers`, apart from the one that hydra is made in.

    python -m benchmarks.environment        make it, or see that it is up to date

Hydra is no part of it: programs find the tree beside this one through PYTHONPATH, and
only what it needs at run time is installed. A peer that cannot be installed is left out
with what pip said, and is a row that says so in every table.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv-peers"
REQUIREMENTS: Final = Path(__file__).with_name("peers") / "requirements.txt"
INTERPRETER: Final = "python3.11"
"""The one that all peers have wheels for."""


@dataclass(frozen=True, slots=True)
class Environment:
    """
    Where the programs that measure run.

    Args:
        python: Its interpreter.
        failed: Requirements that could not be installed, and why.
    """

    python: str
    failed: dict[str, str]

    def reason(self, package: str) -> str:
        """Return why *package* is not there; empty when it is."""
        for requirement, why in self.failed.items():
            if _name(requirement) == package.lower():
                return why
        return ""


def requirements(text: str) -> list[str]:
    """Return the requirements in a requirements file."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def ensure(venv: Path = VENV) -> Environment:
    """
    Return the environment; make it, or make it again, when something in it has changed.

    Raises:
        subprocess.CalledProcessError: If there is no interpreter, or hydra's own
            dependencies cannot be installed.
    """
    wanted = requirements(REQUIREMENTS.read_text(encoding="utf-8"))
    with open(ROOT / "pyproject.toml", "rb") as project:
        own: list[str] = tomllib.load(project)["project"]["dependencies"]
    python = str(venv / "bin" / "python")
    told = venv / "peers.json"
    key = hashlib.sha256("\n".join([str(venv), *wanted, *own]).encode()).hexdigest()
    if told.exists():
        state = json.loads(told.read_text(encoding="utf-8"))
        if state["key"] == key:
            return Environment(python, state["failed"])
    print(f"making {venv.name}: a minute, once", file=sys.stderr)
    subprocess.run(
        [str(ROOT / "scripts" / "venv"), str(venv)],
        env=os.environ | {"PYTHON": INTERPRETER},
        check=True,
    )
    _install(python, own).check_returncode()
    failed: dict[str, str] = {}
    if _install(python, wanted).returncode:
        # Together they are faster; one by one it shows which of them cannot be had.
        for requirement in wanted:
            ended = _install(python, [requirement])
            if ended.returncode:
                failed[requirement] = _said(ended.stderr)
    told.write_text(json.dumps({"key": key, "failed": failed}), encoding="utf-8")
    return Environment(python, failed)


def _install(python: str, wanted: list[str]) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _said(output: str) -> str:
    """Return the line in which pip says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip failed"])[-1]


def _name(requirement: str) -> str:
    return requirement.partition("==")[0].strip().lower()


if __name__ == "__main__":
    made = ensure()
    print(made.python)
    for name, why in made.failed.items():
        print(f"not installed: {name}: {why}")
