from __future__ import annotations

import json

import pytest

from benchmarks import figures
from scripts import readme as script

pytestmark = pytest.mark.unit


def _result(ours: dict) -> dict:
    found: dict = {}
    for figure, case, metric, _ in script._SHOWN:
        rows = {"hydra": ours, "structlog": {"median": 123_456.0, "best": True}}
        cases = found.setdefault(figure, {"cases": {}})["cases"]
        cases.setdefault(case, {})[metric] = {"rows": rows}
    machine = {"processor": "p", "cores": 2, "date": "2026-01-01"}
    return {"figures": found, "run": {"machine": machine}}


def test_readme_has_the_published_figures() -> None:
    """
    README.md says what docs/benchmarks.json says, and nothing while that is not there.
    """
    text = script.README.read_text(encoding="utf-8")

    assert text == script.with_figures(text), "run scripts/readme.py"


def test_readme_follows_the_json(tmp_path, monkeypatch) -> None:
    """
    Another JSON makes another README: the numbers are nowhere else.
    """
    text = script.README.read_text(encoding="utf-8")
    monkeypatch.setattr(script, "FIGURES", tmp_path / "benchmarks.json")
    script.FIGURES.write_text(json.dumps(_result({"median": 98_765.4})))
    written = script.with_figures(text)

    assert "| records a second, one thread | 98,800 | 123,000 | structlog |" in written
    assert text != written
    assert written == script.with_figures(written)


def test_row_that_was_refused_stays_in_the_readme() -> None:
    """
    Where hydra lost a record the README says so in the place of the number.
    """
    refused = _result({"refused": "of 9 records 1 missing"})

    assert "| refused: of 9 records 1 missing | 123,000 |" in script.figures(refused)


def test_rows_of_the_readme_are_measured() -> None:
    """
    Each row of the README names a figure, a case and a metric that a run has.
    """
    for figure, case, metric, _ in script._SHOWN:
        module = figures.load(figure)
        assert case in module.cases(figures.FULL)
        assert metric in module.METRICS
