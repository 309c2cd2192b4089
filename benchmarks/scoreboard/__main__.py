"""
Play all faults with all libraries: `python -m benchmarks.scoreboard`, or `make scoreboard`.

    --only NAME         a fault, a library, or both: --only sigkill --only loguru
    --workers N         programs at a time; two by default where there are two cores
    --json FILE         write the result there
    --publish           write docs/scoreboard.json and docs/scoreboard.md
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final

from .. import command, environment, peers
from . import page
from .faults import FAULTS, Fault
from .supervise import Case, row

FORMAT: Final = 1
"""The version of the JSON."""
AWAITED: Final = f"{peers.HYDRA} awaited"
"""Hydra once more, on an event loop."""


def main(arguments: list[str]) -> int:
    """Run what was asked for; return the exit status."""
    options = _options(arguments)
    made = environment.ensure()
    names = [n for n in peers.TABLE if n != peers.BASELINE]
    libraries = {n: command.about(n, made) for n in names if n in options.libraries}
    todo = [
        (label, case)
        for fault in FAULTS
        if fault.name in options.faults
        for label, case in _cases(fault, libraries)
    ]
    machine = command.machine("slow calls")
    began = time.monotonic()
    found: dict[str, dict[str, Any]] = {fault.name: {} for fault in FAULTS}
    for label, case, said in _told(todo, options.workers, made.python):
        found[case.fault.name][label] = said
    summary = {
        "format": FORMAT,
        "run": {
            "machine": machine,
            "workers": options.workers,
            "minutes": round((time.monotonic() - began) / 60, 1),
        },
        "libraries": libraries,
        "faults": {
            fault.name: {
                "title": fault.title,
                "note": fault.note,
                "rows": rows(fault, libraries, found[fault.name]),
            }
            for fault in FAULTS
            if fault.name in options.faults
        },
    }
    command.hand_out(summary, options, page)
    return 0


def rows(
    fault: Fault, libraries: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the rows of the table of *fault*, those of libraries that are absent, too."""
    absent = {
        name: {"unsupported": "not installed"} for name in libraries if "absent" in libraries[name]
    }
    every = found | absent
    return {label: every[label] for label in _labels(libraries) if label in every}


def _labels(libraries: dict[str, dict[str, Any]]) -> list[str]:
    """Return the rows of a table: each library, and hydra as it is awaited."""
    labels = []
    for name in libraries:
        labels += [name, AWAITED] if name == peers.HYDRA else [name]
    return labels


def _cases(fault: Fault, libraries: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Case]]:
    for label in _labels(libraries):
        library = peers.HYDRA if label == AWAITED else label
        said = libraries[library]
        if "absent" in said:
            continue
        # Standard output is that of a service, whatever it logs with.
        on_loop = label == AWAITED or not said["plain"] or fault.target == "stdout"
        if label == library == peers.HYDRA and fault.target == "stdout":
            continue
        yield label, Case(library, "awaited" if on_loop else "plain", fault)


def _told(
    todo: list[tuple[str, Case]], workers: int, python: str
) -> Iterator[tuple[str, Case, dict[str, Any]]]:
    """Play *todo*; show each of them on standard error as it ends."""
    told = command.progress(len(todo))
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(row, case, python): (label, case) for label, case in todo}
        for done in as_completed(running):
            label, case = running[done]
            said = done.result()
            text = said.get("unsupported") or said.get("failed") or _short(said)
            told(f"{case.fault.name}: {label}: {text}")
            yield label, case, said


def _short(said: dict[str, Any]) -> str:
    ended = "killed" if said["ended_s"] is None else f"ended in {said['ended_s']} s"
    return (
        f"ERROR {said['error_kept']}/{said['error_acknowledged']}  "
        f"INFO {said['info_kept']}/{said['info_acknowledged']}  "
        f"said {said['said']}  worst {said['worst_ms']} ms  {ended}"
    )


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = command.parser("benchmarks.scoreboard")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), metavar="N")
    options = parser.parse_args(arguments)
    options.faults, options.libraries = command.chosen(
        parser,
        options.only,
        [fault.name for fault in FAULTS],
        [name for name in peers.TABLE if name != peers.BASELINE],
    )
    if options.workers < 1:
        parser.error("--workers takes 1 or more")
    if options.publish and options.only:
        parser.error("only a whole run is published: --publish goes without --only")
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
