"""
Soak the engine: `python -m benchmarks.soak`, or `make soak`. Exit status 1 says what broke.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from ..environment import ROOT
from ..plots import series
from .judge import Sample, acknowledged, verdict
from .supervisor import Soak


def main(arguments: list[str]) -> int:
    """Run what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--seconds", type=float, default=600.0, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="which fault comes when")
    parser.add_argument("--directory", metavar="DIR", help="keep what is written in there")
    parser.add_argument("--plot", metavar="FILE", help="instead of .benchmarks/soak.svg")
    options = parser.parse_args(arguments)
    if options.seconds < 10:
        parser.error("--seconds takes 10 or more")
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    kept = options.directory is not None
    directory = Path(options.directory or tempfile.mkdtemp(prefix="hydra-soak-")).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        parser.error(f"{directory} is not empty")
    print(f"seed {seed}, {options.seconds:g} s, in {directory}", flush=True)
    began = time.monotonic()
    with Soak(directory, seed, options.seconds) as soak:
        soak.run()
        wanted = acknowledged(directory / "acknowledged")
        places = soak.destinations()
        found = verdict(wanted, places, soak.finals, soak.samples, soak.hangs)
    plot = Path(options.plot or ROOT / ".benchmarks" / "soak.svg")
    plot.parent.mkdir(exist_ok=True)
    plot.write_text(_plot(seed, soak.samples, soak.marks), encoding="utf-8")
    for each in places:
        said = each.audited
        print(
            f"{each.name}: {said.get('records', 0):,} records, missing {said.get('missing')}, "
            f"guaranteed {said.get('missing_guaranteed')}, "
            f"declared dropped {said.get('declared_dropped', 0):,}, "
            f"unclean runs {said.get('unclean_runs')} of {said.get('runs')}"
        )
    errors = sum(map(len, wanted.values()))
    print(
        f"{errors:,} ERRORs acknowledged by {soak.lives} processes; {len(soak.marks)} faults and "
        f"cures in {time.monotonic() - began:.0f} s; plot: {os.path.relpath(plot)}"
    )
    left = [final["held"] for final in soak.finals[:-1] if final is not None and final["held"]]
    if left:
        print(f"note: {sum(left):,} held at a close, and left to the next start")
    for wrong in found:
        print(f"WRONG: {wrong}")
    if found:
        print(
            f"again: python -m benchmarks.soak --seconds {options.seconds:g} --seed {seed}"
            f"\nwhat was written is kept in {directory}"
        )
        return 1
    if not kept:
        shutil.rmtree(directory)
    print("passed")
    return 0


def _plot(seed: int, samples: list[Sample], marks: list[tuple[float, str]]) -> str:
    return series(
        f"Soak, seed {seed}",
        {
            "RSS, MiB": [(s.at, s.rss / (1 << 20)) for s in samples],
            "open descriptors": [(s.at, float(s.descriptors)) for s in samples],
            "records queued": [(s.at, float(s.queued)) for s in samples],
            "records held": [(s.at, float(s.held)) for s in samples],
            "drops in this life": [(s.at, float(s.dropped)) for s in samples],
        },
        marks,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
