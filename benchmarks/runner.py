"""
Run programs one at a time, each in a process and a directory of its own, and judge them.

Rule 1: rounds are interleaved: every library once, then every library again, so that
what else the machine does falls on all of them.
Rule 2: a program counts only once `verify` has found all it logged.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import figures, peers
from .environment import ROOT
from .figures import Measured, Scale
from .verify import verify

PATIENCE: Final = 20.0
"""Seconds after which a program is ended, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Job:
    """One case of one figure with one library."""

    figure: str
    case: str
    library: str
    arguments: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a job.

    Args:
        values: What it measured; empty where nothing counts.
        refused: Why nothing counts, though it ran.
        unsupported: Why it cannot be run: the library has no such thing.
    """

    values: dict[str, float] = field(default_factory=dict)
    refused: str = ""
    unsupported: str = ""


def jobs(names: Iterable[str], libraries: Iterable[str], scale: Scale) -> list[Job]:
    """Return what there is to do in one round, libraries taking turns within a case."""
    libraries = list(libraries)
    return [
        Job(name, case, library, arguments)
        for name in names
        for case, arguments in figures.load(name).cases(scale).items()
        for library in libraries
    ]


def in_rounds(
    todo: list[Job], rounds: int, run: Callable[[Job], Outcome]
) -> Iterator[tuple[int, Job, Outcome]]:
    """
    Yield round, job and outcome of each job in each round.

    Every other round goes the other way round, so that nobody always comes after the
    same neighbour. What cannot be run, or was refused once, is not tried again.
    """
    never: set[Job] = set()
    for number in range(1, rounds + 1):
        for job in todo if number % 2 else reversed(todo):
            if job in never:
                continue
            outcome = run(job)
            if outcome.unsupported or outcome.refused:
                never.add(job)
            yield number, job, outcome


def run_job(job: Job, python: str, *, patience: float = PATIENCE) -> Outcome:
    """Run *job* with the interpreter *python*, and judge it."""
    directory = tempfile.mkdtemp(prefix="hydra-bench-")
    try:
        said = ask(job.figure, job.library, job.arguments, python, directory, patience=patience)
        return judge(said, job.library, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def ask(
    figure: str,
    library: str,
    arguments: dict[str, Any],
    python: str,
    directory: str,
    *,
    patience: float = PATIENCE,
) -> dict[str, Any]:
    """Return what the program of *figure* says; one that says nothing has an `error`."""
    result = Path(directory) / "result.json"
    command = [python, "-m", "benchmarks.child", figure, library, str(result)]
    with open(Path(directory) / "stderr", "w+b") as errors:
        process = subprocess.Popen(
            [*command, json.dumps(arguments)],
            cwd=directory,
            env=_environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            return {"error": f"did not end in {patience:g} s"}
        finally:
            _end(process)
        if not result.exists():
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            return {"error": f"ended with status {process.returncode}: {''.join(last)}"[:300]}
    said: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return said


def judge(said: dict[str, Any], library: str, directory: str) -> Outcome:
    """Return the outcome of a program that *said* so and wrote its files into *directory*."""
    if "unsupported" in said:
        return Outcome(unsupported=said["unsupported"])
    if "error" in said:
        return Outcome(refused=said["error"])
    measured = Measured(**said)
    adapter = peers.load(library)
    path = os.path.join(directory, measured.path)
    groups = [[os.path.join(directory, name) for name in measured.files] or adapter.files(path)]
    groups += [adapter.files(os.path.join(directory, copy)) for copy in measured.copies]
    values = dict(measured.values)
    for group in groups:
        verdict = verify(group, adapter.parse, measured.counts)
        refusal = verdict.refusal(may_drop=measured.may_drop)
        if refusal:
            return Outcome(refused=refusal)
        if verdict.size < measured.least:
            return Outcome(
                refused=f"{measured.least:,} bytes were logged, {verdict.size:,} are in the file"
            )
        if measured.may_drop:
            values["missing"] = verdict.missing
    return Outcome(values)


def _environment(directory: str) -> dict[str, str]:
    """Return an environment with nothing in it that configures a library."""
    return {
        "HOME": directory,
        "HYDRA_STATE_DIR": os.path.join(directory, "state"),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        # Programs of all libraries find their modules compiled, or none does.
        "PYTHONDONTWRITEBYTECODE": "",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what a program started and left running, and itself."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
