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
import sys
import time
from collections.abc import Iterator

from . import command, environment, figures, peers, report, results
from .runner import RIVALS, Job, Outcome, contenders, everybody, in_rounds, jobs, run_job


def main(arguments: list[str]) -> int:
    """Run what was asked for; return the exit status."""
    options = _options(arguments)
    made = environment.ensure()
    libraries = {name: command.about(name, made) for name in options.libraries}
    present = [name for name, said in libraries.items() if "absent" not in said]
    for name in libraries.keys() - set(present):
        print(f"{name}: {libraries[name]['absent']}", file=sys.stderr)
    todo = jobs(options.figures, present, options.scale)
    # Whoever asks for one thing only wants all of it in all rounds.
    again = everybody if options.only else contenders
    later = len({(job.figure, job.case) for job in todo}) * (RIVALS + 2)
    later = len(todo) if options.only else min(len(todo), later)
    began = time.monotonic()
    machine = command.machine("noise")
    outcomes = list(
        _told(
            in_rounds(
                todo,
                options.rounds,
                lambda job: run_job(job, made.python, patience=options.scale.patience),
                again,
            ),
            len(todo) + later * (options.rounds - 1),
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
    command.hand_out(summary, options, report)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = command.parser("benchmarks")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="see that all works, in a minute")
    scale.add_argument("--long", action="store_true", help="10 million records, longer runs")
    parser.add_argument("--rounds", type=int, metavar="N")
    options = parser.parse_args(arguments)
    options.figures, options.libraries = command.chosen(
        parser, options.only, figures.NAMES, peers.TABLE
    )
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.rounds < 1:
        parser.error("--rounds takes 1 or more")
    if options.publish and (options.quick or options.only):
        parser.error("only a whole run is published: --publish goes without --quick and --only")
    names = {"quick": options.quick, "long": options.long}
    options.scale_name = next((name for name, chosen in names.items() if chosen), "full")
    options.scale = {"quick": figures.QUICK, "long": figures.LONG, "full": figures.FULL}[
        options.scale_name
    ]
    return options


def _told(
    outcomes: Iterator[tuple[int, Job, Outcome]], whole: int
) -> Iterator[tuple[int, Job, Outcome]]:
    """Pass *outcomes* on; show each of them on standard error."""
    told = command.progress(whole)
    for round_, job, outcome in outcomes:
        said = (
            outcome.refused
            or outcome.unsupported
            or "  ".join(f"{name} {value:,.4g}" for name, value in outcome.values.items())
        )
        told(f"round {round_}  {job.figure}, {job.case}: {job.library}: {said}")
        yield round_, job, outcome


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
