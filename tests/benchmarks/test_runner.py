from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import figures, report, results
from benchmarks.plots import bars, lines, short
from benchmarks.runner import (
    Job,
    Outcome,
    ask,
    contenders,
    everybody,
    in_rounds,
    jobs,
    run_job,
)

pytestmark = pytest.mark.integration

PAIR = ("hydra", "stdlib")


def _job(figure: str, case: str, library: str) -> Job:
    return Job(figure, case, library, figures.load(figure).cases(figures.QUICK)[case])


def _outcomes() -> list[tuple[int, Job, Outcome]]:
    rates = {"floor": [100.0, 90.0, 110.0], "hydra": [50.0], "stdlib": [25.0], "loguru": [20.0]}
    answer = [
        (number, Job("throughput", "plain", library, {}), Outcome({"rate": rate, "cpu": 1 / rate}))
        for library, each in rates.items()
        for number, rate in enumerate(each, 1)
    ]
    for library, outcome in (
        ("picologging", Outcome(refused="of 9 records 1 missing")),
        ("aiologger", Outcome(unsupported="logs on an event loop only")),
    ):
        answer.append((1, Job("throughput", "plain", library, {}), outcome))
    return answer


@pytest.fixture(name="summary")
def _summary() -> dict:
    said = {"version": "1", "page": "https://example.org", "structured": True, "queued": False}
    libraries = {name: {**said, "awaited": False} for name in ("floor", "hydra", "stdlib")}
    libraries["loguru"] = {"absent": "ERROR: no matching distribution"}
    machine = {"processor": "p", "cores": 2, "system": "s", "load": 0.1, "date": "2026-01-01"}
    run = {"machine": machine, "python": "3.11", "rounds": 3, "scale": "full", "minutes": 1.0}
    return results.summary(results.collected(_outcomes()), libraries, run)


@pytest.mark.parametrize("name", figures.NAMES)
def test_quick_pass_of_each_figure_counts(name: str) -> None:
    """
    Every figure runs end to end for hydra and the standard library, and its files are verified.
    """
    cases = figures.load(name).cases(figures.QUICK)
    # One case each: a run of all of them takes minutes.
    ended = {
        library: run_job(_job(name, next(iter(cases)), library), sys.executable) for library in PAIR
    }

    assert dict.fromkeys(PAIR, ("", "")) == {
        library: (outcome.refused, outcome.unsupported) for library, outcome in ended.items()
    }
    assert all(outcome.values for outcome in ended.values())


@pytest.mark.parametrize("case", ["awaited", "4 threads", "1,000 tasks"])
def test_every_way_to_produce_is_verified(case: str) -> None:
    """
    Records of tasks and threads are told apart by producer, and all of hydra's are there.
    """
    outcome = run_job(_job("throughput", case, "hydra"), sys.executable)

    assert ("", True) == (outcome.refused, outcome.values["rate"] > 0)


@pytest.mark.parametrize("case", ["sink hung", "stdout wedged"])
def test_hung_sink_holds_up_who_writes_at_the_call(case: str) -> None:
    """
    A pipe that nobody reads blocks the standard library's call for about as long as it hangs.
    """
    job = _job("latency", case, "stdlib")
    # Long enough for the pipe to be full early in it, on a busy machine, too.
    job.arguments["seconds"] = 0.5
    outcome = run_job(job, sys.executable)

    assert outcome.refused == ""
    assert outcome.values["max"] > 0.05e6
    assert outcome.values["missing"] == 0


@pytest.mark.parametrize(
    ("figure", "case"),
    [("latency", "sink hung"), ("latency", "stdout wedged"), ("memory", "a queue")],
)
def test_nothing_of_hydra_is_missing_after_a_hang(figure: str, case: str) -> None:
    """
    What hydra holds while nobody reads is in the pipe once somebody does.
    """
    outcome = run_job(_job(figure, case, "hydra"), sys.executable)

    assert ("", 0) == (outcome.refused, outcome.values["missing"])


def test_program_that_never_ends_is_ended() -> None:
    """
    A program that outlives its patience is killed and refused, and the run goes on.
    """
    job = Job("throughput", "plain", "stdlib", {"seconds": 3600.0})

    assert Outcome(refused="did not end in 2 s") == run_job(job, sys.executable, patience=2.0)


def test_library_that_is_not_installed_says_so(tmp_path: Path) -> None:
    """
    What a missing library raises is the reason in its row.
    """
    said = ask("about", "logbook", {}, sys.executable, str(tmp_path))

    assert {"error": "ModuleNotFoundError: No module named 'logbook'"} == said


def test_program_that_dies_is_refused_with_its_last_words(tmp_path: Path) -> None:
    """
    A process that ends without a result is refused with its status.
    """
    said = ask("about", "nobody", {}, sys.executable, str(tmp_path))

    assert said["error"].startswith(
        "ended with status 1: ValueError: no library is called 'nobody'"
    )


def test_rounds_are_interleaved() -> None:
    """
    In a round every library takes its turn; every other round goes backwards; what
    cannot be run, or was refused, does not come again.
    """
    todo = [Job("f", "c", library, {}) for library in ("a", "b", "c", "d")]
    answers = {"b": Outcome(unsupported="no"), "c": Outcome(refused="lost")}
    ran = [
        (number, job.library)
        for number, job, _ in in_rounds(
            todo, 3, lambda job: answers.get(job.library, Outcome()), everybody
        )
    ]

    assert [
        *[(1, "a"), (1, "b"), (1, "c"), (1, "d")],
        *[(2, "d"), (2, "a")],
        *[(3, "a"), (3, "d")],
    ] == ran


def test_who_decides_a_ratio_comes_again() -> None:
    """
    After the first round come hydra, the floor, and the peers that were the best in a case.
    """
    rates = {"floor": 9.0, "hydra": 1.0, "stdlib": 2.0, "loguru": 4.0, "picologging": 3.0}
    outcomes = {
        "throughput": {name: Outcome({"rate": rate}) for name, rate in rates.items()},
        "latency": {name: Outcome({"p50": time}) for name, time in rates.items()},
    }
    todo = [Job(name, "c", library, {}) for name in outcomes for library in rates]
    ran = [
        (number, job.figure, job.library)
        for number, job, _ in in_rounds(
            todo, 2, lambda job: outcomes[job.figure][job.library], contenders
        )
        if number > 1
    ]

    assert {
        *((2, "throughput", name) for name in ("floor", "hydra", "loguru", "picologging")),
        *((2, "latency", name) for name in ("floor", "hydra", "stdlib", "picologging")),
    } == set(ran)


def test_libraries_take_turns_within_a_case() -> None:
    """
    What is compared is measured side by side: all libraries on one case, then the next.
    """
    todo = jobs(["destinations"], PAIR, figures.QUICK)

    assert [("2 files", "hydra"), ("2 files", "stdlib"), ("4 files", "hydra")] == [
        (job.case, job.library) for job in todo[:3]
    ]


def test_summary_has_medians_and_ratios(summary: dict) -> None:
    """
    A row is the median of its rounds, as ratio to the floor and to the best peer, who is neither.
    """
    rows = summary["figures"]["throughput"]["cases"]["plain"]["rate"]["rows"]

    assert (100.0, 90.0, 110.0, 3) == tuple(
        rows["floor"][k] for k in ("median", "low", "high", "rounds")
    )
    assert (0.5, 2.0, False) == tuple(rows["hydra"][k] for k in ("to_floor", "to_best", "best"))
    assert rows["stdlib"]["best"]
    assert {"refused": "of 9 records 1 missing"} == rows["picologging"]
    assert {"unsupported": "logs on an event loop only"} == rows["aiologger"]


def test_library_that_lost_a_record_in_one_round_is_refused() -> None:
    """
    A record that is lost in one of three rounds is lost: the other rounds do not count.
    """
    job = Job("throughput", "plain", "stdlib", {})
    lost = Outcome(refused="of 9 records 1 missing")
    rounds = [(1, job, Outcome({"rate": 1.0})), (2, job, lost)]
    found = results.summary(results.collected(rounds), {}, {})

    rows = found["figures"]["throughput"]["cases"]["plain"]["rate"]["rows"]
    assert {"stdlib": {"refused": "of 9 records 1 missing"}} == rows


def test_page_shows_every_row(summary: dict) -> None:
    """
    The page has a row for each library, those that lose or are absent, too.
    """
    page = report.page(summary)

    assert "| floor | 100 (90 to 110)<br>1 x floor, 4 x best |" in page
    assert "| **hydra** | 50<br>0.5 x floor, 2 x best |" in page
    assert "| stdlib | 25 *<br>0.25 x floor, 1 x best |" in page
    assert "| picologging | refused: of 9 records 1 missing |" in page
    assert "| aiologger | logs on an event loop only |" in page
    assert "| loguru | not here: ERROR: no matching distribution |" in page


def test_page_shows_each_picture(summary: dict) -> None:
    """
    Every picture that is drawn is shown on the page, and no other.
    """
    page, pictures = report.page(summary), report.pictures(summary)

    assert pictures
    assert len(pictures) == page.count(".svg)")
    assert all(f"(benchmarks/{name}.svg)" in page for name in pictures)


def test_pictures_are_drawn_from_what_was_measured() -> None:
    """
    A bar is as long as its share of the longest; a name cannot end its element.
    """
    drawn = bars("Rates", "", {"a<b": 10.0, "hydra": 5.0}, "hydra")

    assert 'width="480.0"' in drawn
    assert 'width="240.0"' in drawn
    assert "a&lt;b" in drawn
    curves = lines("Tail", "us", ["p50", "max"], {"hydra": [1, 10], "other": [2, 1000]}, "hydra")
    assert ET.fromstring(drawn).tag == ET.fromstring(curves).tag
    assert 'points="60.0,334.0 550.0,234.0"' in curves
    assert "no figures" in lines("Nothing", "us", ["p50"], {}, "hydra")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (1234, "1,230"), (98765, "98,800"),
     (1234567, "1.23 M")],
)  # fmt: skip
def test_number_has_three_figures(value: float, expected: str) -> None:
    """
    A number shows as many figures as the measurement has.
    """
    assert expected == short(value)
