"""
Run every row of tests/faults/_rows.py and write what came of it into docs/faults.md.

    fault_rows.py [ROW...]     rows to run; without any, all, and the page is written

The exit status is 1 when a test failed. Rows that the machine cannot run are on the page
with the reason.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "faults.md"
_BLOCK: Final = re.compile(r"(<!-- faults -->\n).*(<!-- end of faults -->)", re.DOTALL)

sys.path.insert(0, str(ROOT))

from tests.faults._rows import FAMILIES, ROWS, Row  # noqa: E402 - needs the path above.


@dataclass(eq=False)
class Outcomes:
    """What came of each test; a plugin of pytest."""

    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of one test."""
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "skipped"
            self.skipped[report.nodeid] = reason.removeprefix("Skipped: ")
        elif report.when == "call":
            self.passed.add(report.nodeid)


def outcome_of(row: Row, outcomes: Outcomes) -> str:
    """Return what the page says about *row*."""
    if row.absent:
        return f"not run: {row.absent}"
    passed, failed, skipped = (
        sorted(each for each in some if belongs(each, row))
        for some in (outcomes.passed, outcomes.failed, outcomes.skipped)
    )
    if failed:
        return f"**failed**: {len(failed)} of {len(passed) + len(failed)}"
    reasons = "; ".join(sorted({outcomes.skipped[each] for each in skipped}))
    if not passed:
        return f"not run: {reasons or 'no outcome'}"
    return f"passed ({len(passed)})" + (f"; {len(skipped)} not run: {reasons}" if reasons else "")


def belongs(test: str, row: Row) -> bool:
    """Return whether the test with the id *test* shows *row*."""
    name = test.removeprefix("tests/")
    return any(name == each or name.startswith((f"{each}::", f"{each}[")) for each in row.tests)


def table(outcomes: Outcomes) -> str:
    """Return the part of the page that is written by the run."""
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    said = (
        f"Last run: Python {platform.python_version()}, {platform.system()} {platform.release()},"
        f" as {user}; {len(outcomes.passed)} tests passed, {len(outcomes.failed)} failed,"
        f" {len(outcomes.skipped)} were skipped."
        if outcomes.passed
        else "Not run yet."
    )
    lines = [said]
    for letter, family in FAMILIES.items():
        lines += ["", f"## {family}", "", "| row | fault | how | expected | outcome |"]
        lines.append("|---|---|---|---|---|")
        lines += [
            "| " + " | ".join((*cells(row), outcome_of(row, outcomes).replace("|", r"\|"))) + " |"
            for row in ROWS
            if row.name[0] == letter
        ]
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, ...]:
    """Return what the page says about *row* before any run."""
    tests = ", ".join(f"[{name}](../tests/{name})" for name in files(row))
    how = f"{row.how} ({tests})" if tests else row.how
    return tuple(cell.replace("|", r"\|") for cell in (row.name, row.fault, how, row.expected))


def files(row: Row) -> list[str]:
    """Return the test files of *row*, each once."""
    return list(dict.fromkeys(each.partition("::")[0] for each in row.tests))


def run(rows: Iterable[Row]) -> Outcomes:
    """Run the tests of *rows*, each once, in their long variants."""
    wanted = dict.fromkeys(each for row in rows for each in row.tests)
    # What is named by its file need not be named again.
    tests = [
        f"tests/{each}"
        for each in wanted
        if "::" not in each or each.partition("::")[0] not in wanted
    ]
    outcomes = Outcomes()
    os.chdir(ROOT)
    # By signal: a test that takes too long must not end the run along with itself.
    pytest.main(["-q", "--long", "-o", "timeout_method=signal", *tests], plugins=[outcomes])
    return outcomes


def main(arguments: list[str]) -> int:
    """Run the rows, show them, and write the page where all were run."""
    rows = [row for row in ROWS if not arguments or row.name in arguments]
    outcomes = run(rows)
    for row in rows:
        print(f"{row.name:4} {row.fault:70.70} {outcome_of(row, outcomes)}")
    print(f"{len(outcomes.skipped)} tests skipped")
    if not arguments:
        page = PAGE.read_text(encoding="utf-8")
        shown = table(outcomes)
        PAGE.write_text(
            _BLOCK.sub(lambda block: f"{block[1]}\n{shown}\n\n{block[2]}", page), encoding="utf-8"
        )
    return 1 if outcomes.failed or not outcomes.passed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
