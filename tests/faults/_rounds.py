"""
Many kills and many forks, in rounds: each has a world of its own and is judged by itself.

Rule 1: what is judged is the log after the next start, line by line.
Rule 2: a round is small enough to be held in memory, so any number of them can be run.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, fields

from click.testing import CliRunner

from hydra.cli import main
from tests.faults.programs import PROGRAMS, World, parsed, torn
from tests.faults.programs.forks import RECORDS
from tests.faults.programs.zygote import THREADS


class Findings:
    """What rounds found; the counts of several rounds can be added."""

    def __add__(self, other):
        return type(self)(
            **{each.name: getattr(self, each.name) + getattr(other, each.name)
               for each in fields(self)}
        )  # fmt: skip

    def __str__(self) -> str:
        return ", ".join(
            f"{getattr(self, each.name):,} {each.name.replace('_', ' ')}" for each in fields(self)
        )


@dataclass(frozen=True, slots=True)
class Kills(Findings):
    """What became of the records of processes that were killed."""

    kills: int = 0
    promised: int = 0
    lost: int = 0
    duplicate_ids: int = 0
    torn_found: int = 0
    torn_recovered: int = 0
    left_behind: int = 0

    @property
    def flawless(self) -> bool:
        """Whether every promise was kept."""
        wrong = self.lost + self.duplicate_ids + self.left_behind
        return not wrong and self.torn_found == self.torn_recovered


@dataclass(frozen=True, slots=True)
class Forks(Findings):
    """What became of a process that forks while it logs, and of its children."""

    forks: int = 0
    records: int = 0
    hung: int = 0
    lost: int = 0
    duplicated: int = 0
    inherited: int = 0
    unbalanced: int = 0
    left_behind: int = 0

    @property
    def flawless(self) -> bool:
        """Whether no child hung and each record is there once."""
        wrong = self.hung + self.lost + self.duplicated + self.inherited
        return not wrong + self.unbalanced + self.left_behind


def kill(world: World, cycles: int, *, seed: int, seconds: float) -> Kills:
    """Kill a process *cycles* times, each the heir of the one before; judge the log."""
    promised = world.directory / "promised"
    promised.write_bytes(bytes(8 * THREADS * cycles))
    report = _run(world, seconds, "zygote.py", world.directory, cycles, seed)
    assert 0 == report["status"]
    numbers = struct.unpack(f"={THREADS * cycles}Q", promised.read_bytes())
    kept = {
        f"{cycle}.{thread}.{n}"
        for (cycle, thread), most in ((divmod(at, THREADS), n) for at, n in enumerate(numbers))
        for n in range(1, most + 1)
    }
    lines = world.lines()
    whole = parsed(lines)
    found = Counter(each["key"] for each in whole if each["message"] == "promised")
    audit = _audited(world)
    assert len(whole) == audit["records"]
    return Kills(
        kills=report["kills"],
        promised=len(kept),
        lost=len(kept - found.keys()),
        duplicate_ids=max(len(world.twice()), _more(found), audit["duplicates"]),
        torn_found=torn(lines),
        torn_recovered=audit["torn"],
        left_behind=len(world.directories()),
    )


def fork(world: World, forks: int, *, seconds: float) -> Forks:
    """Fork *forks* times from a process of eight logging threads; judge the log."""
    report = _run(world, seconds, "forks.py", world.state, world.path, forks)
    expected = {f"p.{t}.{n}" for t, most in enumerate(report["counts"]) for n in range(1, most + 1)}
    expected |= {f"c.{child}.{n}" for child in range(forks) for n in range(RECORDS)}
    before = Counter(world.messages())
    # Half of the children ended by os._exit after a flush: nothing of theirs is pending.
    world.recover()
    times = Counter(world.messages())
    assert before == times
    # Each process has a run of its own: its parent's, and one for each child.
    runs = {each["id"].split(".")[0] for each in parsed(world.lines())}
    assert forks + 1 == len(runs)
    return Forks(
        forks=forks,
        records=sum(times.values()),
        hung=report["hung"],
        lost=len(expected - times.keys()),
        duplicated=max(_more(times), len(world.twice())),
        inherited=len(report["inherited"]),
        unbalanced=not report["balanced"],
        left_behind=len(world.directories()),
    )


def _more(times: Counter[str]) -> int:
    return sum(1 for number in times.values() if number > 1)


def _run(world: World, seconds: float, program: str, *arguments: object):
    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAMS / program, *map(str, arguments)],
        env=world.environment, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr[-2000:])
    return json.loads(done.stdout)


def _audited(world: World):
    result = CliRunner().invoke(main, ["audit", "--json", str(world.path)])
    assert result.exit_code in {0, 1}, result.output
    return json.loads(result.stdout)
