"""
Measure: `python -m benchmarks`, or `make bench`.

    --quick             a pass of a minute that shows that all works; its numbers mean nothing
    --long              10 million records where memory is measured, and longer runs; hours
    --only NAME         a figure, a library, or both: --only latency --only structlog
    --rounds N          rounds of which the median is taken
    --json FILE         write the result there
    --publish           write docs/benchmarks.json, docs/benchmarks.md and its pictures
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import environment, figures, peers, report, results
from .runner import Job, Outcome, ask, in_rounds, jobs, run_job


def main(arguments: list[str]) -> int:
    """Run what was asked for; return the exit status."""
    options = _options(arguments)
    made = environment.ensure()
    libraries = {name: _about(name, made) for name in options.libraries}
    present = [name for name, said in libraries.items() if "absent" not in said]
    for name in libraries.keys() - set(present):
        print(f"{name}: {libraries[name]['absent']}", file=sys.stderr)
    todo = jobs(options.figures, present, options.scale)
    began = time.monotonic()
    machine = results.machine()
    if machine["load"] > 0.5 * machine["cores"]:
        print(f"this machine is busy (load {machine['load']}): expect noise", file=sys.stderr)
    outcomes = list(
        _told(
            in_rounds(
                todo,
                options.rounds,
                lambda job: run_job(job, made.python, patience=options.scale.patience),
            ),
            len(todo) * options.rounds,
        )
    )
    run = {
        "machine": machine,
        "python": libraries.get(peers.BASELINE, {}).get("python", ""),
        "rounds": options.rounds,
        "scale": options.scale_name,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    summary = results.summary(results.collected(outcomes), libraries, run)
    if options.json:
        Path(options.json).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if options.publish:
        report.publish(summary)
    else:
        print(report.tables(summary))
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="see that all works, in a minute")
    scale.add_argument("--long", action="store_true", help="10 million records, longer runs")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--publish", action="store_true", help="write the pages in docs/")
    options = parser.parse_args(arguments)
    unknown = [n for n in options.only if n not in figures.NAMES and n not in peers.TABLE]
    if unknown:
        known = ", ".join([*figures.NAMES, *peers.TABLE])
        parser.error(f"nothing is called {', '.join(unknown)}; there are: {known}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.rounds < 1:
        parser.error("--rounds takes 1 or more")
    if options.publish and (options.quick or options.only):
        parser.error("only a whole run is published: --publish goes without --quick and --only")
    options.figures = [n for n in figures.NAMES if n in options.only] or list(figures.NAMES)
    named = [n for n in peers.TABLE if n in options.only]
    options.libraries = named or list(peers.TABLE)
    names = {"quick": options.quick, "long": options.long}
    options.scale_name = next((name for name, chosen in names.items() if chosen), "full")
    options.scale = {"quick": figures.QUICK, "long": figures.LONG, "full": figures.FULL}[
        options.scale_name
    ]
    return options


def _about(library: str, made: environment.Environment) -> dict[str, Any]:
    """Return what *library* says of itself, or why it is absent."""
    directory = tempfile.mkdtemp(prefix="hydra-bench-")
    try:
        said = ask("about", library, {}, made.python, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if "error" in said:
        package = getattr(peers.load(library), "package", "") or library
        return {"absent": made.reason(package) or said["error"]}
    return said


def _told(
    outcomes: Iterator[tuple[int, Job, Outcome]], whole: int
) -> Iterator[tuple[int, Job, Outcome]]:
    """Pass *outcomes* on; show each of them on standard error."""
    began = time.monotonic()
    for number, (round_, job, outcome) in enumerate(outcomes, 1):
        said = (
            outcome.refused
            or outcome.unsupported
            or "  ".join(f"{name} {value:,.4g}" for name, value in outcome.values.items())
        )
        spent = time.monotonic() - began
        print(
            f"{spent:4.0f} s  {number}/{whole}  round {round_}  {job.figure}, {job.case}: "
            f"{job.library}: {said}",
            file=sys.stderr,
        )
        yield round_, job, outcome


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
