from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scripts import fault_rows
from tests.faults._rows import FAMILIES, ROWS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def test_page_has_the_rows_of_the_table():
    """
    What the page says about each fault is what the table says; only the outcomes are of a run.
    """
    page = fault_rows.PAGE.read_text(encoding="utf-8")
    shown = [line.split(" | ")[:-1] for line in page.splitlines() if re.match(r"\| [A-Z]\d", line)]

    assert [["| " + cells[0], *cells[1:]] for cells in map(fault_rows.cells, ROWS)] == shown


def test_every_row_names_tests_that_exist():
    """
    A row is shown by tests, or says why there is none; a test that was renamed is missed here.
    """
    wrong = [each for row in ROWS for each in row.tests if not _exists(each)]

    assert [] == wrong
    assert [] == [row.name for row in ROWS if bool(row.tests) == bool(row.absent)]


def test_every_family_is_there():
    """
    Rows come in the order of their families, numbered without gaps, each name once.
    """
    names = [
        f"{letter}{n}"
        for letter in FAMILIES
        for n in range(1, 1 + sum(row.name[0] == letter for row in ROWS))
    ]

    assert names == [row.name for row in ROWS]


def test_outcome_of_a_row():
    """
    One failure makes a row fail, a skip is told with its reason, and nothing at all is not passed.
    """
    row = next(row for row in ROWS if row.name == "C1")
    test = "tests/faults/test_kill.py::test_one"
    outcomes = fault_rows.Outcomes

    assert "passed (1)" == fault_rows.outcome_of(row, outcomes(passed={test}))
    assert "**failed**: 1 of 1" == fault_rows.outcome_of(row, outcomes(failed={test}))
    assert "not run: no strace" == fault_rows.outcome_of(row, outcomes(skipped={test: "no strace"}))
    assert "not run: no outcome" == fault_rows.outcome_of(row, outcomes())


def _exists(reference):
    name, _, test = reference.partition("::")
    path = ROOT / "tests" / name
    if not path.exists():
        return False
    names = {
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return not test or test.rpartition("::")[2].partition("[")[0] in names
