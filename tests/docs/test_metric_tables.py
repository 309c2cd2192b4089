from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scripts import metric_tables as script

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def test_page_and_code_agree() -> None:
    """
    The metrics page shows what the code exports, with no table left out.
    """
    page = script.PAGE.read_text(encoding="utf-8")
    shown = set(re.findall(r"<!-- metrics: (\w+) -->", page))

    assert page == script.rendered(page), "run scripts/metric_tables.py"
    assert {*script.CLASSES, "prometheus", "reasons"} == shown


def test_every_field_and_metric_is_explained() -> None:
    """
    No row of a table has an empty explanation.
    """
    page = script.PAGE.read_text(encoding="utf-8")

    assert [] == re.findall(r"^\|.*\|\s*\|$", page, re.MULTILINE)


def test_every_reason_of_a_drop_is_listed() -> None:
    """
    The reasons on the page are the constants of the engine, no more and no less.
    """
    reasons = set()
    for path in (ROOT / "hydra" / "engine").glob("*.py"):
        reasons |= set(_reasons(path))

    assert reasons == set(script.REASONS)


def _reasons(path: Path):
    """Yield the constants of a module that are reasons: by their docstring, or by their module."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Constant):
            continue
        said = isinstance(below, ast.Expr) and "Reason of a drop" in ast.unparse(below)
        # All texts of the stream's module are reasons: it decides about nothing else.
        if isinstance(node.value.value, str) and (said or path.stem == "_stream"):
            yield node.value.value
