"""
Play all faults with all libraries: `python -m benchmarks.scoreboard`, or `make scoreboard`.

    --only NAME         a fault, a library, or both: --only sigkill --only loguru
    --workers N         programs at a time; two by default where there are two cores
    --json FILE         write the result there
    --publish           write docs/scoreboard.json and docs/scoreboard.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from .. import environment, peers, results
from ..__main__ import _about
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
    libraries = {n: _about(n, made) for n in names if n in options.libraries}
    todo = [
        (label, case)
        for fault in FAULTS
        if fault.name in options.faults
        for label, case in _cases(fault, libraries)
    ]
    machine = results.machine()
    if machine["load"] > 0.5 * machine["cores"]:
        print(f"this machine is busy (load {machine['load']}): expect slow calls", file=sys.stderr)
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
    if options.json:
        Path(options.json).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if options.publish:
        page.publish(summary)
    else:
        print(page.tables(summary))
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
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(row, case, python): (label, case) for label, case in todo}
        for number, done in enumerate(as_completed(running), 1):
            label, case = running[done]
            said = done.result()
            text = said.get("unsupported") or said.get("failed") or _short(said)
            spent = time.monotonic() - began
            print(
                f"{spent:4.0f} s  {number}/{len(todo)}  {case.fault.name}: {label}: {text}",
                file=sys.stderr,
            )
            yield label, case, said


def _short(said: dict[str, Any]) -> str:
    ended = "killed" if said["ended_s"] is None else f"ended in {said['ended_s']} s"
    return (
        f"ERROR {said['error_kept']}/{said['error_acknowledged']}  "
        f"INFO {said['info_kept']}/{said['info_acknowledged']}  "
        f"said {said['said']}  worst {said['worst_ms']} ms  {ended}"
    )


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoreboard")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), metavar="N")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--publish", action="store_true", help="write the page in docs/")
    options = parser.parse_args(arguments)
    faults = [fault.name for fault in FAULTS]
    names = [name for name in peers.TABLE if name != peers.BASELINE]
    unknown = [name for name in options.only if name not in faults and name not in names]
    if unknown:
        known = ", ".join([*faults, *names])
        parser.error(f"nothing is called {', '.join(unknown)}; there are: {known}")
    if options.workers < 1:
        parser.error("--workers takes 1 or more")
    if options.publish and options.only:
        parser.error("only a whole run is published: --publish goes without --only")
    options.faults = [name for name in faults if name in options.only] or faults
    options.libraries = [name for name in names if name in options.only] or names
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
