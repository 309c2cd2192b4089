from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.command import about
from benchmarks.environment import Environment

pytestmark = pytest.mark.unit


class Tools:
    """Stands for `scripts/venv` and pip; fails where *broken* is to be installed."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.commands: list[list[str]] = []

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if command[0].endswith("scripts/venv"):
            Path(command[1]).mkdir(parents=True, exist_ok=True)
        failed = any(word.startswith(self.broken) for word in command) if self.broken else False
        said = "ERROR: No matching distribution found\n[notice] something else\n" if failed else ""
        return subprocess.CompletedProcess(command, int(failed), "", said)


def _made(tools: Tools, venv: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr(environment.subprocess, "run", tools.run)
    return environment.ensure(venv)


def test_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is up to date is left alone: the second time nothing is run.
    """
    tools = Tools()
    first = _made(tools, tmp_path / "venv", monkeypatch)
    ran = len(tools.commands)
    second = _made(tools, tmp_path / "venv", monkeypatch)

    assert 3 == ran == len(tools.commands)
    assert first == second == Environment(str(tmp_path / "venv/bin/python"), {})


def test_environment_is_made_again_when_a_version_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A peer at another version is another environment.
    """
    _made(Tools(), tmp_path / "venv", monkeypatch)
    other = tmp_path / "requirements.txt"
    other.write_text("structlog==1.0\n", encoding="utf-8")
    monkeypatch.setattr(environment, "REQUIREMENTS", other)
    tools = Tools()
    _made(tools, tmp_path / "venv", monkeypatch)

    assert "structlog==1.0" in tools.commands[-1]


def test_peer_that_does_not_install_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One peer that cannot be installed is left out with what pip said; the others are installed.
    """
    tools = Tools(broken="picologging")
    made = _made(tools, tmp_path / "venv", monkeypatch)
    alone = [command[-1] for command in tools.commands if "structlog" in command[-1]]

    assert ["ERROR: No matching distribution found"] == list(made.failed.values())
    assert "ERROR: No matching distribution found" == made.reason("picologging")
    assert "" == made.reason("structlog")
    assert 1 == len([command for command in alone if command.startswith("structlog==")])


def test_hydra_itself_has_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without hydra's own dependencies there is nothing to compare: it fails at once, and for good.
    """
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            _made(Tools(broken="msgspec"), tmp_path / "venv", monkeypatch)


@pytest.mark.parametrize(
    ("failed", "reason"),
    [
        ({"logbook==1.10.1": "ERROR: no wheel"}, "ERROR: no wheel"),
        ({}, "ModuleNotFoundError: No module named 'logbook'"),
    ],
)
def test_absent_library_says_why(failed: dict[str, str], reason: str) -> None:
    """
    The row of a library that is not there has what pip said, else what its import raised.
    """
    assert {"absent": reason} == about("logbook", Environment(sys.executable, failed))
