"""
What holds for every test: its own state directory, no leaks, one marker.

Rule 1: a test never sees the user's settings or home; HYDRA_* is cleared (but for
HYDRA_PURE_PYTHON, which says what is tested) and the state directory is its own.
Rule 2: a test that leaves a thread, a task or a descriptor behind fails, unless
it says why with `leaks_ok`; such tests are listed at the end of the run.
Rule 3: a test carries exactly one of the markers unit, integration, faults and
e2e, or no job would run it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra.engine import ENGINE, _compiled
from tests import _frontier, _leaks

KINDS = ("unit", "integration", "faults", "e2e")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the variants that take minutes."""
    parser.addoption("--long", action="store_true", help="run the long variants of the faults")


def pytest_configure() -> None:
    """Make what lasts as long as the process."""
    _leaks.settle()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to run when a test would belong to no job, or to two."""
    wrong = [
        item.nodeid
        for item in items
        if len({mark.name for mark in item.iter_markers() if mark.name in KINDS}) != 1
    ]
    if wrong:
        raise pytest.UsageError(
            f"each test needs exactly one marker of {', '.join(KINDS)}: " + ", ".join(wrong)
        )


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves something running or open."""
    exempt = request.node.get_closest_marker("leaks_ok")
    if exempt is not None:
        reason = exempt.kwargs.get("reason") or " ".join(exempt.args)
        if not reason:
            pytest.fail("leaks_ok needs a reason", pytrace=False)
        # Goes along with the report, wherever the test runs.
        request.node.user_properties.append(("leaks_ok", reason))
        yield
        return
    before = _leaks.snapshot()
    yield
    leaks = _leaks.leaks_since(before)
    if leaks:
        pytest.fail("the test leaks:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(autouse=True)
def _own_world(_leak_check: None, tmp_path: Path) -> Iterator[None]:
    """Give the test a state directory of its own; close hydra and forget it afterwards."""
    # Beside tmp_path, not in it: some tests list their directory.
    state = tmp_path.with_name(tmp_path.name + ".state")
    # Not the fixture of this name: what a test patched is put back before hydra closes.
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HYDRA_")]:
            # What a test starts has the call path of this process.
            if name != "HYDRA_PURE_PYTHON":
                patch.delenv(name)
        patch.setenv("HYDRA_STATE_DIR", str(state / "hydra"))
        patch.setenv("XDG_STATE_HOME", str(state / "xdg"))
        # Also before: what a fixture of a wider scope configured is not this test's.
        ENGINE.reset()
        yield
        ENGINE.reset()
    if state.exists():
        shutil.rmtree(state)


@pytest.fixture
def pure_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every route made in Python, for tests that put what is not real into one."""
    monkeypatch.setattr(_compiled, "NATIVE", None)
    ENGINE.reset()


@pytest.fixture(params=_frontier.STYLES)
def call_style(request: pytest.FixtureRequest) -> _frontier.CallStyle:
    """Run the test three times: calls left alone, awaited under asyncio, and under trio."""
    return _frontier.CallStyle(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    List the tests that may leak, say what was tested, and count the skipped tests.

    `-rs` gives the reasons.
    """
    stats = terminalreporter.stats
    exempt = {
        f"{report.nodeid}: {reason}"
        for outcome in ("passed", "failed", "error")
        for report in stats.get(outcome, [])
        for name, reason in report.user_properties
        if name == "leaks_ok"
    }
    if exempt:
        terminalreporter.section("tests that may leak")
        for line in sorted(exempt):
            terminalreporter.line(line)
    terminalreporter.line(f"compiled call path: {'yes' if _compiled.COMPILED else 'no'}")
    terminalreporter.line(f"skipped tests: {len(stats.get('skipped', []))}")
