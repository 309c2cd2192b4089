from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from scripts import api_snapshot as script

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hydra", "hydra.testing", "fallbacks", "fallbacks.testing")


def test_names_and_signatures_are_the_ones_promised() -> None:
    """
    No public name and no signature changes without a change of tests/golden/api.txt.
    """
    promised = script.GOLDEN.read_text(encoding="utf-8")

    assert promised == script.snapshot(), "run scripts/api_snapshot.py and note it in CHANGELOG.md"


def test_reference_page_and_code_agree() -> None:
    """
    The reference page lists what the code has, with no package left out.
    """
    page = script.PAGE.read_text(encoding="utf-8")

    assert page == script.rendered(page), "run scripts/api_snapshot.py"
    assert all(f"<!-- api: {package} -->" in page for package in PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_what_can_be_seen(package: str) -> None:
    """
    Every public attribute of a package is in `__all__` or is one of its modules.
    """
    module = importlib.import_module(package)
    seen = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name != "annotations"
        and f"{package}.{name}" not in sys.modules
        and type(value) is not type(sys)
    }

    assert sorted(module.__all__, key=_case) == module.__all__
    # A function may have the name of the module it comes from.
    assert seen <= set(module.__all__)
    assert [] == [name for name in module.__all__ if not hasattr(module, name)]


def _case(name: str) -> tuple[int, str]:
    if name.isupper():
        return 0, name
    return (1, name) if name[0].isupper() else (2, name)


def test_a_name_that_is_not_there_says_so() -> None:
    """
    A misspelt name raises the AttributeError that Python users know.
    """
    hydra = importlib.import_module("hydra")

    with pytest.raises(AttributeError, match="module 'hydra' has no attribute 'lgo'"):
        _ = hydra.lgo


def test_snapshot_tells_a_changed_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A parameter that is added, and a name that is removed, both change the snapshot.
    """
    hydra = importlib.import_module("hydra")
    before = script.snapshot()

    def flush(timeout: float | None = 5.0, *, hard: bool = False) -> None:
        """Not the real one."""

    monkeypatch.setattr(hydra, "flush", flush)
    monkeypatch.setattr(hydra, "__all__", [name for name in hydra.__all__ if name != "lazy"])
    gone = set(before.splitlines()) - set(script.snapshot().splitlines())

    assert {
        "def hydra.flush(timeout: float | None = 5.0) -> Stats",
        "def hydra.lazy(compute: Callable[[], object]) -> Lazy",
    } == gone
