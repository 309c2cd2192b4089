"""
From the outcomes of all rounds to the JSON that pages and README are made from.
"""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from . import figures, peers
from .runner import Job, Outcome
from .stats import best, ratio, spread

FORMAT = 1
"""The version of the JSON."""


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.partition(":")[2].strip() for line in file if "model name" in line]
        processor = models[0] if models else processor
    except OSError:
        pass
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def busy(machine: dict[str, Any]) -> bool:
    """Return whether *machine* did so much else that its times say little."""
    return machine["load"] > 0.5 * machine["cores"]


def collected(
    outcomes: Iterable[tuple[int, Job, Outcome]],
) -> dict[tuple[str, str], dict[str, list[Outcome]]]:
    """Return the outcomes of each case of each figure by library."""
    found: dict[tuple[str, str], dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for _, job, outcome in outcomes:
        found[job.figure, job.case][job.library].append(outcome)
    return {case: dict(rows) for case, rows in found.items()}


def summary(
    found: dict[tuple[str, str], dict[str, list[Outcome]]],
    libraries: dict[str, dict[str, Any]],
    run: dict[str, Any],
) -> dict[str, Any]:
    """
    Return the whole result.

    Args:
        found: Of `collected`.
        libraries: What each library says of itself, or why it is `absent`.
        run: What was asked for: rounds, options, the machine.
    """
    shown: dict[str, Any] = {}
    for (name, case), rows in found.items():
        module = figures.load(name)
        figure = shown.setdefault(name, {"title": module.TITLE, "note": module.NOTE, "cases": {}})
        figure["cases"][case] = {
            metric: {
                "title": meaning.title,
                "unit": meaning.unit,
                "more": meaning.more,
                "rows": _rows(rows, metric, more=meaning.more),
            }
            for metric, meaning in module.METRICS.items()
            if any(metric in o.values for each in rows.values() for o in each)
        } or {"": {"title": "", "unit": "", "more": False, "rows": _rows(rows, "", more=False)}}
    return {"format": FORMAT, "run": run, "libraries": libraries, "figures": shown}


def _rows(rows: dict[str, list[Outcome]], metric: str, *, more: bool) -> dict[str, Any]:
    """
    Return the row of each library for one metric.

    A library that was refused in one round is refused: what it loses now and then, it loses.
    """
    medians: dict[str, float] = {}
    answer: dict[str, Any] = {}
    for library, outcomes in rows.items():
        refused = next((outcome.refused for outcome in outcomes if outcome.refused), "")
        lacking = next((outcome.unsupported for outcome in outcomes if outcome.unsupported), "")
        values = [outcome.values[metric] for outcome in outcomes if metric in outcome.values]
        if refused:
            answer[library] = {"refused": refused}
        elif lacking or not values:
            answer[library] = {"unsupported": lacking or "not measured here"}
        else:
            over = spread(values)
            medians[library] = over.median
            answer[library] = {
                "median": over.median,
                "low": over.low,
                "high": over.high,
                "rounds": over.rounds,
            }
    rivals = {
        name: value for name, value in medians.items() if name not in {peers.HYDRA, peers.BASELINE}
    }
    leader = best(rivals, more=more)
    for library, median in medians.items():
        floor = medians.get(peers.BASELINE)
        answer[library]["to_floor"] = ratio(median, floor) if floor is not None else None
        answer[library]["to_best"] = ratio(median, rivals[leader]) if leader else None
        answer[library]["best"] = library == leader
    return answer
