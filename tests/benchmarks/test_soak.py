from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plots import series
from benchmarks.soak import __main__ as command
from benchmarks.soak import judge
from benchmarks.soak.course import HEAL, INSTANT, LASTING, course
from benchmarks.soak.judge import MIB, Destination, Sample
from benchmarks.soak.supervisor import Soak

pytestmark = pytest.mark.integration

CLOSED = {
    "accepted": 9,
    "delivered": 7,
    "dropped": 2,
    "pending": 0,
    "held": 0,
    "balanced": True,
}


def _life(
    seconds: int, *, rss: Any = lambda _: 50 * MIB, opened: Any = lambda _: 20
) -> list[Sample]:
    chance = random.Random(1)
    return [
        Sample(at / 2, 7, rss(at / 2) + chance.randrange(MIB), opened(at / 2) + chance.randrange(3))
        for at in range(seconds * 2 + 1)
    ]


def _log(path: Path, *names: str) -> Path:
    lines = [f'{{"level":"error","id":"{name}"}}\n' for name in names]
    path.write_text("".join(lines), encoding="ascii")
    return path


# -- the course


def test_same_seed_same_course() -> None:
    """
    A course is a function of its seed, and another seed gives another one.
    """
    assert course(3, 600) == course(3, 600)
    assert course(3, 600) != course(4, 600)


@pytest.mark.parametrize("seconds", [30, 600])
@pytest.mark.parametrize("seed", range(20))
def test_course_has_all_faults_and_heals_them(seed: int, seconds: int) -> None:
    """
    Every fault comes, in order of time, and what lasts is healed before the end.
    """
    steps = course(seed, seconds)
    broken: set[str] = set()
    for step in steps:
        if step.what in LASTING:
            assert step.what not in broken
            broken.add(step.what)
        elif step.what.startswith(HEAL):
            broken.remove(step.what.removeprefix(HEAL))

    assert {*LASTING, *INSTANT} <= {step.what for step in steps}
    assert steps == sorted(steps, key=lambda step: step.at)
    assert (set(), True) == (broken, steps[-1].at < seconds)


# -- the judgement


def test_acknowledged_error_that_is_nowhere(tmp_path: Path) -> None:
    """
    One id that was acknowledged and is in none of the files is a loss; any of them will do.
    """
    files = [_log(tmp_path / "app.log", "r.1g-1"), _log(tmp_path / "app.log.1", "r.1g-2")]
    app = Destination("app", files)

    assert [] == judge.losses({"r.1g-1", "r.1g-2"}, app)
    assert ["app: 1 of 2 acknowledged ERRORs are missing: r.1g-3"] == judge.losses(
        {"r.1g-1", "r.1g-3"}, app
    )


def test_id_twice_in_a_file(tmp_path: Path) -> None:
    """
    An id twice in one file is wrong, once in each of two copies is right, and a sink may repeat.
    """
    twice = _log(tmp_path / "app.log", "r.1g-1", "r.1g-2", "r.1g-1")
    copy = _log(tmp_path / "copy.log", "r.1g-1", "r.1g-2")

    assert ["app.log: 1 ids twice: r.1g-1"] == judge.doubles(
        Destination("app", [twice, copy], once=[twice, copy])
    )
    assert [] == judge.doubles(Destination("app", [copy, copy], once=[copy]))
    assert [] == judge.doubles(Destination("sink", [twice]))


@pytest.mark.parametrize(
    ("grave", "missing", "total", "wrong"),
    [(0, 0, 9, False), (1, 1, None, True), (0, 1, 9, True), (0, 1, None, False)],
)
def test_what_the_audit_says(grave: int, missing: int, total: int | None, wrong: bool) -> None:
    """
    No guaranteed record may be missing, and none at all in a run that was closed.
    """
    run = {"streams": [{"missing": missing, "total": total}]}
    said = {"missing_guaranteed": grave, "details": [run]}

    assert wrong == bool(judge.holes(Destination("app", [], audited=said)))


def test_audit_that_did_not_come_about() -> None:
    """
    An audit that cannot be read proves nothing.
    """
    said = {"error": "no such file"}

    assert ["app: hydra audit: no such file"] == judge.holes(Destination("app", [], audited=said))


@pytest.mark.parametrize(
    "change",
    [{"delivered": 6}, {"balanced": False}, {"delivered": 6, "pending": 1}, {"held": 1}],
)
def test_ledger_that_does_not_balance(change: dict[str, Any]) -> None:
    """
    Books that do not balance, and records that still wait when all is well, are wrong.
    """
    assert [] == judge.imbalance([CLOSED])
    assert judge.imbalance([CLOSED, {**CLOSED, **change}])


def test_what_waits_for_the_next_start() -> None:
    """
    A process may close with something held, as long as the next one delivers it.
    """
    holds = {**CLOSED, "delivered": 6, "pending": 1, "held": 1}

    assert [] == judge.imbalance([holds, CLOSED])
    assert 1 == len(judge.imbalance([CLOSED, holds]))


def test_process_that_never_closed() -> None:
    """
    Without the last words of a process its books cannot be right.
    """
    assert ["a process never said how it closed"] == judge.imbalance([None])


@pytest.mark.parametrize("seconds", [10, 600])
def test_leak_of_memory(seconds: int) -> None:
    """
    Memory that grows by half a hundred MiB over a life is a leak, whether long or short.
    """
    leak = _life(seconds, rss=lambda at: int((50 + 80 * at / seconds) * MIB))

    assert 1 == len(judge.growth(leak))


def test_leak_of_descriptors() -> None:
    """
    Descriptors that are opened now and then and never closed are a leak.
    """
    leak = _life(60, opened=lambda at: 20 + int(at))

    assert ["descriptors"] == [w.split()[4] for w in judge.growth(leak)]
    assert [] == judge.growth(_life(60, opened=lambda at: 20 + int(at / 10)))


def test_what_is_no_leak() -> None:
    """
    A start, a step, a hump while something is held, and a life too short to tell are no leaks.
    """
    step = _life(12, opened=lambda at: 8 if at < 6.5 else 40)
    start = _life(60, rss=lambda at: int(min(20 + at * 4, 60) * MIB))
    hump = _life(60, rss=lambda at: (150 if 20 < at < 40 else 50) * MIB)
    short = _life(6, rss=lambda at: int(at * 100) * MIB)

    assert [] == judge.growth(start) + judge.growth(step) + judge.growth(hump) + judge.growth(short)


def test_each_life_is_judged_by_itself() -> None:
    """
    A process that starts small after one that was large hides no leak, and makes none.
    """
    large = _life(20, rss=lambda _: 200 * MIB)
    after = [replace(s, at=s.at + 21, pid=8, rss=s.rss - 150 * MIB) for s in large]

    assert [] == judge.growth([*large, *after])
    assert [] == judge.growth([*after, *[replace(s, pid=9, at=s.at + 60) for s in large]])


# -- the whole


def test_soak_passes_and_finds_what_is_planted(tmp_path: Path) -> None:
    """
    A real soak of a few seconds passes; a line that is then taken out of its file, or
    written once more, does not.
    """
    with Soak(tmp_path, seed=5, seconds=8.0) as soak:
        soak.run()

    def found() -> list[str]:
        wanted = judge.acknowledged(tmp_path / "acknowledged")
        return judge.verdict(wanted, soak.destinations(), soak.finals, soak.samples, soak.hangs)

    assert [] == found()
    front = tmp_path / "front.log"
    lines = front.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b'"level":"error"' in line)
    front.write_bytes(b"".join([*lines[:at], *lines[at + 1 :]]))
    lost = found()
    assert 2 == len(lost)
    assert lost[0].startswith("front: 1 of ")
    assert "1 guaranteed missing" in lost[1]
    front.write_bytes(b"".join([*lines, lines[at]]))
    assert ["front.log: 1 ids twice"] == [wrong.rpartition(":")[0] for wrong in found()]


class _Played(Soak):
    """A soak that was played, with a leak in it."""

    def __init__(self, directory: Path, seed: int, seconds: float) -> None:
        (directory / "acknowledged").write_text("", encoding="ascii")
        self.samples = _life(60, opened=lambda at: 20 + int(at))
        self.marks = [(3.0, "rotate")]
        self.hangs, self.finals, self.lives = [], [CLOSED], 1

    def __exit__(self, *_: object) -> None:
        pass

    def run(self) -> None:
        pass

    def destinations(self) -> list[Destination]:
        return []


def test_exit_status_says_that_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A leak alone makes the command fail; it says why, and how to play it again.
    """
    monkeypatch.setattr(command, "Soak", _Played)
    plot = tmp_path / "soak.svg"
    status = command.main(
        ["--seconds", "10", "--seed", "3", "--directory", str(tmp_path / "d"), "--plot", str(plot)]
    )
    said = capsys.readouterr().out

    assert 1 == status
    assert "WRONG: process 7 has " in said
    assert "again: python -m benchmarks.soak --seconds 10 --seed 3" in said
    assert ET.parse(plot).getroot().tag.endswith("svg")


def test_picture_has_a_line_for_each_series() -> None:
    """
    Each series is a line of its own, scaled to its own highest value; a mark says what it was.
    """
    drawn = series(
        "a soak", {"RSS": [(0, 1), (10, 2)], "drops": [(0, 0), (10, 0)]}, [(5, "kill <9>")]
    )
    root = ET.fromstring(drawn)

    assert 2 == len(root.findall(".//{*}polyline"))
    assert "5 s: kill <9>" in [title.text for title in root.findall(".//{*}title")]
