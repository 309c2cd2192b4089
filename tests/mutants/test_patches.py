from __future__ import annotations

from pathlib import Path

import pytest

from scripts import mutants as script

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = script.mutants()

OLD = "def first():\n    return 1\n\n\ndef second():\n    return 1\n"
PATCH = """\
A number is wrong. Broken promise: numbers are right.
Tests: tests/mutants/test_patches.py
--- a/hydra/numbers.py
+++ b/hydra/numbers.py
@@ -5,2 +5,2 @@
 def second():
-    return 1
+    return 2
"""


@pytest.fixture
def mutant(tmp_path: Path) -> script.Mutant:
    """Return a mutant of a module that is nowhere."""
    path = tmp_path / "number.patch"
    path.write_text(PATCH)
    return script.parse(path)


def _problem(mutant: script.Mutant) -> str:
    try:
        script.changed(mutant, ROOT)
    except (script.Unfit, FileNotFoundError) as problem:
        return str(problem)
    return ""


def test_each_patch_still_changes_code() -> None:
    """
    Each patch applies to the code as it is, and changes what the code does.
    """
    problems = {mutant.name: _problem(mutant) for mutant in MUTANTS}

    assert {} == {name: problem for name, problem in problems.items() if problem}


def test_each_patch_breaks_one_of_three_packages() -> None:
    """
    Mutants are of what carries the promises: the fallbacks, the queue and the engine.
    """
    packages = ("fallbacks/", "hydra/queue/", "hydra/engine/")

    assert [] == [mutant.name for mutant in MUTANTS if not mutant.target.startswith(packages)]


def test_each_patch_names_tests_that_are_there() -> None:
    """
    The tests that have to notice a mutant exist.
    """
    named = {test.partition("::")[::2] for mutant in MUTANTS for test in mutant.tests}
    missing = [
        (file, name)
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}" not in (ROOT / file).read_text("utf-8")
    ]

    assert [] == missing


def test_no_two_mutants_are_the_same() -> None:
    """
    There are forty mutants at least, and each breaks something that no other one breaks.
    """
    assert len(MUTANTS) >= 40
    assert len(MUTANTS) == len({(mutant.target, mutant.hunks) for mutant in MUTANTS})


def test_a_patch_applies_wherever_its_lines_are_by_now(mutant: script.Mutant) -> None:
    """
    Old lines are found by what they say, not by their number.
    """
    moved = "# One line more.\n" * 50

    assert moved + OLD[:-2] + "2\n" == mutant.applied(moved + OLD)


@pytest.mark.parametrize(
    "text", [OLD.replace("second", "third"), OLD + OLD], ids=["not there", "twice"]
)
def test_a_patch_whose_place_is_unclear_does_not_apply(mutant: script.Mutant, text: str) -> None:
    """
    Lines that are not there, or are there more than once, are not guessed at.
    """
    with pytest.raises(script.Unfit, match="its old lines stand"):
        mutant.applied(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" Broken promise: numbers are right.", ""),
        ("Tests: ", "Test: "),
        ("tests/mutants/test_patches.py", ""),
        ("+++ b/hydra/numbers.py", "+++ b/hydra/others.py"),
        (" def second", "*def second"),
    ],
)
def test_a_patch_that_does_not_say_what_it_has_to_is_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    """
    A patch without its promise, without tests, or of two files is refused.
    """
    path = tmp_path / "number.patch"
    path.write_text(PATCH.replace(old, new))

    with pytest.raises(script.Unfit):
        script.parse(path)


@pytest.mark.parametrize(
    ("status", "output", "told"),
    [
        (0, "tests/a.py::test_b PASSED\n= 1 passed =", "SURVIVED"),
        (1, "FAILED tests/a.py::test_b[x] - no\n", "caught by tests/a.py::test_b"),
        (1, "tests/a.py::test_b \n+++++ Timeout +++++\n", "hangs in tests/a.py::test_b"),
        (None, "tests/a.py::test_b PASSED\ntests/a.py::test_c ", "hangs in tests/a.py::test_c"),
        (-11, "tests/a.py::test_b ", "caught by tests/a.py::test_b (signal 11)"),
        (2, "ERROR tests/a.py\n1 error", "cannot be tried, exit 2: 1 error"),
        (5, "no tests ran", "cannot be tried, exit 5: no tests ran"),
        (0, "1 skipped", "cannot be tried, exit 0: 1 skipped"),
    ],
)
def test_only_a_test_that_fails_or_hangs_catches(
    mutant: script.Mutant, status: int | None, output: str, told: str
) -> None:
    """
    What cannot be imported, collected or run has been noticed by no test.
    """
    verdict = script._judge(mutant, status, output)

    assert told == str(verdict)
    assert told.startswith(("caught", "hangs")) == verdict.good
