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
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from . import figures, peers
from .environment import ROOT
from .figures import Measured, Scale
from .verify import verify

RIVALS: Final = 2
"""How many peers of a case run in all rounds."""

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


Ran: TypeAlias = list[tuple[Job, Outcome]]
"""What ran in a round, in the order of the tables."""


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
    todo: list[Job],
    rounds: int,
    run: Callable[[Job], Outcome],
    again: Callable[[Ran], list[Job]],
) -> Iterator[tuple[int, Job, Outcome]]:
    """
    Yield round, job and outcome of each job in each round.

    Every other round goes the other way round, so that nobody always comes after the
    same neighbour. What cannot be run, or was refused once, is not tried again; of the
    others, *again* says after the first round which come back.
    """
    for number in range(1, rounds + 1):
        ran: Ran = []
        for job in todo if number % 2 else reversed(todo):
            outcome = run(job)
            if not (outcome.unsupported or outcome.refused):
                ran.append((job, outcome))
            yield number, job, outcome
        if number % 2 == 0:
            ran.reverse()
        todo = (again if number == 1 else everybody)(ran)


def everybody(ran: Ran) -> list[Job]:
    """Return all jobs that ran."""
    return [job for job, _ in ran]


def contenders(ran: Ran, rivals: int = RIVALS) -> list[Job]:
    """
    Return the jobs whose figures decide a ratio: hydra's, the floor's and the best peers'.

    The best are those by the first of a figure's metrics. One round is enough for whoever
    is far behind, and hours are not ten minutes.
    """
    cases: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for job, outcome in ran:
        if job.library not in {peers.HYDRA, peers.BASELINE}:
            metrics = figures.load(job.figure).METRICS
            name = next((name for name in metrics if name in outcome.values), None)
            if name is not None:
                value = outcome.values[name]
                cases[job.figure, job.case][job.library] = -value if metrics[name].more else value
    best = {
        (*case, library)
        for case, values in cases.items()
        for library in sorted(values, key=lambda each: values[each])[:rivals]
    }
    always = {peers.HYDRA, peers.BASELINE}
    return [
        job
        for job, _ in ran
        if job.library in always or (job.figure, job.case, job.library) in best
    ]


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
