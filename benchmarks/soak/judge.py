"""
The verdict: plain functions on files and numbers, each of which returns what is wrong.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MIB: Final = 1 << 20
RSS_ALLOWED: Final = 24 * MIB
"""Bytes by which a process may grow from the second quarter of its life to the last."""
DESCRIPTORS_ALLOWED: Final = 12
"""The same in open descriptors."""
LIFE: Final = 8.0
"""Seconds that a process has to live for its growth to be judged; a start is no leak."""


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One look at the loaded process.

    Args:
        at: Seconds from the start of the soak.
        pid: Which life it is.
        rss: Bytes of memory that are resident.
        descriptors: How many are open.
        queued: Records in all queues.
        dropped: Records dropped in this life.
        held: Records held for replay.
    """

    at: float
    pid: int
    rss: int
    descriptors: int
    queued: int = 0
    dropped: int = 0
    held: int = 0


@dataclass(slots=True)
class Destination:
    """
    What is on the disk of one destination.

    Args:
        name: What it is called.
        files: The files that together have all of it.
        once: Files of which none may have an id twice.
        audited: What `hydra audit --json` says of all of them.
    """

    name: str
    files: list[Path]
    once: list[Path] = field(default_factory=list)
    audited: dict[str, Any] = field(default_factory=dict)


def ids(path: Path) -> Counter[str]:
    """Return how often each id is in a file of JSON lines; what is no record is passed over."""
    found: Counter[str] = Counter()
    with open(path, "rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("id"), str):
                found[record["id"]] += 1
    return found


def acknowledged(path: Path) -> dict[str, set[str]]:
    """Return the ids that the loaded processes wrote down, by the logger's scope."""
    found: dict[str, set[str]] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        where, _, name = line.partition(" ")
        found.setdefault(where, set()).add(name)
    return found


def losses(wanted: set[str], destination: Destination) -> list[str]:
    """Return what is missing of the ERRORs that were acknowledged."""
    there: set[str] = set()
    for path in destination.files:
        there |= ids(path).keys()
    missing = sorted(wanted - there)
    if not missing:
        return []
    some = ", ".join(missing[:5])
    count = f"{len(missing):,} of {len(wanted):,} acknowledged ERRORs"
    return [f"{destination.name}: {count} are missing: {some}"]


def doubles(destination: Destination) -> list[str]:
    """Return the files that have an id twice."""
    found = []
    for path in destination.once:
        twice = [name for name, count in ids(path).items() if count > 1]
        if twice:
            found.append(f"{path.name}: {len(twice):,} ids twice: {', '.join(sorted(twice)[:5])}")
    return found


def holes(destination: Destination) -> list[str]:
    """
    Return what `hydra audit` misses: of level ERROR and above anything, else in closed runs.

    A process that is killed may have dropped ordinary records in its last second, and not
    have declared it yet.
    """
    said = destination.audited
    if "error" in said:
        return [f"{destination.name}: hydra audit: {said['error']}"]
    closed = sum(
        stream["missing"]
        for run in said["details"]
        for stream in run["streams"]
        if stream["total"] is not None
    )
    grave = said["missing_guaranteed"]
    if not grave and not closed:
        return []
    return [f"{destination.name}: hydra audit: {grave} guaranteed missing, {closed} in closed runs"]


def imbalance(finals: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """
    Return what is wrong with the ledgers of processes that have closed, in order.

    What one of them held may wait for the next start; after the last nothing waits.
    """
    found = []
    for final in finals:
        if final is None:
            found.append("a process never said how it closed")
            continue
        settled = final["delivered"] + final["dropped"] + final["pending"]
        if not final["balanced"] or final["accepted"] != settled:
            found.append(
                f"the ledger does not balance: {final['accepted']:,} accepted, "
                f"{final['delivered']:,} delivered, {final['dropped']:,} dropped, "
                f"{final['pending']:,} pending"
            )
    last = finals[-1] if finals else None
    if last is not None and (last["pending"] or last["held"]):
        found.append(
            f"all is well again, and still {last['pending']:,} are pending, {last['held']:,} held"
        )
    return found


def growth(samples: Sequence[Sample]) -> list[str]:
    """
    Return the processes that grew without bound.

    The rule, for each life of 8 s or more: the median of the last quarter is above the highest
    of the second quarter by more than 24 MiB, or 12 descriptors, and above the highest of the
    third as well. The first quarter is the start; a leak is what goes on.
    """
    lives: dict[int, list[Sample]] = {}
    for sample in samples:
        lives.setdefault(sample.pid, []).append(sample)
    found = []
    for pid, life in lives.items():
        if life[-1].at - life[0].at < LIFE or len(life) < 8:
            continue
        rss = _growth([s.rss for s in life])
        if rss > RSS_ALLOWED:
            found.append(f"process {pid} has grown by {rss / MIB:.1f} MiB, and goes on")
        opened = _growth([s.descriptors for s in life])
        if opened > DESCRIPTORS_ALLOWED:
            found.append(f"process {pid} has {opened:g} descriptors more, and goes on")
    return found


def _growth(values: Sequence[int]) -> float:
    """Return by how much the last quarter is above the second; 0 if it is not above the third."""
    quarter = len(values) // 4
    last = statistics.median(values[-quarter:])
    if last <= max(values[-2 * quarter : -quarter]):
        return 0.0
    return last - max(values[quarter : 2 * quarter])


def verdict(
    wanted: Mapping[str, set[str]],
    destinations: Iterable[Destination],
    finals: Sequence[Mapping[str, Any] | None],
    samples: Sequence[Sample],
    hangs: Sequence[str] = (),
) -> list[str]:
    """
    Return all that is wrong; nothing when the soak has passed.

    Args:
        wanted: By scope, the ids of ERRORs that were acknowledged.
        destinations: What is on the disk. Those of the scope `app` are all but `front`.
        finals: What each process that was let close said then.
        samples: Looks at all processes, in order.
        hangs: Processes that hung.
    """
    found = list(hangs)
    for each in destinations:
        found += losses(wanted.get("front" if each.name == "front" else "app", set()), each)
        found += doubles(each)
        found += holes(each)
    found += imbalance(finals)
    found += growth(samples)
    return found
