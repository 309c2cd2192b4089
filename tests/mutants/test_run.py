from __future__ import annotations

from pathlib import Path

import pytest

from scripts import mutants as script

pytestmark = pytest.mark.integration

CODE = "def first():\n    return 1\n\n\ndef second():\n    return 1\n"
TEST = "from hydra.numbers import {0}\n\n\ndef test_it():\n    assert {0}() == 1\n"
PATCH = """\
A number is wrong. Broken promise: numbers are right.
Tests: tests/test_{0}.py
--- a/hydra/numbers.py
+++ b/hydra/numbers.py
@@ -5,2 +5,2 @@
 def {1}():
-    return 1
+    return 2
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small project with a mutant that is caught, one that is not, and one of the past."""
    files = {
        "hydra/__init__.py": "",
        "hydra/numbers.py": CODE,
        "tests/test_first.py": TEST.format("first"),
        "tests/test_second.py": TEST.format("second"),
        "pyproject.toml": "",
        "good.patch": PATCH.format("second", "second"),
        "weak.patch": PATCH.format("first", "second"),
        "past.patch": PATCH.format("first", "third"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, place in {"ROOT": "", "PATCHES": "", "PAGE": "page.md"}.items():
        monkeypatch.setattr(script, name, tmp_path / place)
    monkeypatch.setattr(script, "_TREE", ("hydra", "tests"))
    monkeypatch.setattr(script, "_FILES", ("pyproject.toml",))
    return tmp_path


def test_a_run_tells_who_noticed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A run fails when nobody notices a mutant or one applies no more, and writes all of it down.
    """
    status = script.main(["--jobs", "2"])
    told, page = capsys.readouterr().out, (project / "page.md").read_text()

    assert status == 1
    assert "good: caught by tests/test_second.py::test_it" in told
    assert "weak: SURVIVED" in told
    assert "past: does not apply: its old lines stand 0 times in hydra/numbers.py" in told
    assert "1 of 3 are caught." in page
    assert page.count("**SURVIVED**") == 1


def test_a_run_of_some_leaves_the_page_alone(project: Path) -> None:
    """
    A run of a few mutants succeeds when they are caught; neither tree nor page is touched.
    """
    before = {path: path.read_text() for path in project.rglob("*.*") if path.is_file()}
    status = script.main(["-k", "good", "--jobs", "1"])

    assert status == 0
    assert before == {path: path.read_text() for path in project.rglob("*.*") if path.is_file()}


def test_tests_that_fail_anyway_prove_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Where the tests do not pass on the tree as it is, no mutant is tried.
    """
    (project / "tests/test_second.py").write_text(TEST.format("second").replace("1", "3"))

    assert script.main(["-k", "good", "--jobs", "1"]) == 2
    assert "can prove nothing" in capsys.readouterr().out
