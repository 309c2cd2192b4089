from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent

PACKAGES = ("fallbacks", "hydra")

DEAR = (
    "aiofiles",
    "anyio",
    "asyncio",
    "click",
    "concurrent.futures",
    "django",
    "fastapi",
    "logging",
    "loguru",
    "opentelemetry",
    "starlette",
    "structlog",
    "tomllib",
    "trio",
    "uvloop",
    "yaml",
)

# Two names for one thing, on purpose: {package: {alias: name}}.
ALIASES = {
    "hydra": {"HydraLoggerException": "HydraError", "fatal": "critical", "warn": "warning"},
    "fallbacks": {},
}

IMPORT = """
import sys
before = set(sys.modules)
import {package}
print(*sorted(set(sys.modules) - before), sep="\\n")
"""

COUNT_THREADS = """
import os
before = len(os.listdir("/proc/self/task"))
import {package}
print(len(os.listdir("/proc/self/task")) - before)
"""

MAIN_THREAD = """
import _thread
import {package}
done = _thread.allocate_lock()
done.acquire()
def work():
    import threading
    done.release()
_thread.start_new_thread(work, ())
done.acquire()
import threading
print(threading.current_thread() is threading.main_thread())
"""


def fresh(code: str) -> list[str]:
    """Run *code* in a new interpreter, warnings being errors, and return its lines."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == result.returncode, result.stderr

    return result.stdout.splitlines()


@pytest.fixture(name="package", params=PACKAGES)
def _package(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.mark.parametrize("name", PACKAGES)
def test_import_is_cheap(name: str) -> None:
    """
    Importing a package imports no event loop, no framework, no logging and no parser.
    """
    loaded = set(fresh(IMPORT.format(package=name)))

    assert name in loaded
    assert set() == loaded & set(DEAR)


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_import_starts_no_thread(name: str) -> None:
    """
    Importing a package leaves the process with the threads it had.
    """
    assert ["0"] == fresh(COUNT_THREADS.format(package=name))


@pytest.mark.parametrize("name", PACKAGES)
def test_main_thread_stays_the_main_thread(name: str) -> None:
    """
    What a thread of ours imports first does not make it the main thread of the process.
    """
    assert ["True"] == fresh(MAIN_THREAD.format(package=name))


def test_fallbacks_stands_alone() -> None:
    """
    Importing fallbacks imports nothing from hydra.
    """
    loaded = fresh(IMPORT.format(package="fallbacks"))

    assert [] == [name for name in loaded if name.partition(".")[0] == "hydra"]


def test_public_names_resolve(package: ModuleType) -> None:
    """
    Each name a package promises is there.
    """
    missing = object()

    assert [] == [name for name in package.__all__ if getattr(package, name, missing) is missing]


def test_public_names_are_sorted(package: ModuleType) -> None:
    """
    `__all__` stands in the linter's order: CONSTANTS, Classes, the rest, each naturally sorted.
    """
    assert sorted(package.__all__, key=_lint_order) == list(package.__all__)


def test_public_name_is_exported_once(package: ModuleType) -> None:
    """
    No name is listed twice, and nothing has two public names except the known aliases.
    """
    names = Counter(package.__all__)
    by_object: dict[int, list[str]] = {}
    for name in names:
        found = getattr(package, name)
        if callable(found) and name not in ALIASES[package.__name__]:
            by_object.setdefault(id(found), []).append(name)

    assert [] == [name for name, count in names.items() if count > 1]
    assert [] == [names for names in by_object.values() if len(names) > 1]


def test_aliases_are_the_same_thing() -> None:
    """
    An alias is the thing it stands for, not a copy of it.
    """
    hydra = importlib.import_module("hydra")

    assert [] == [
        alias
        for alias, name in ALIASES["hydra"].items()
        if getattr(hydra, alias) is not getattr(hydra, name)
    ]


def test_no_name_has_a_home_in_both_packages() -> None:
    """
    What fallbacks exports is not exported by hydra a second time.
    """
    fallbacks, hydra = map(importlib.import_module, PACKAGES)

    assert set() == set(fallbacks.__all__) & set(hydra.__all__)


def test_imports_inside_a_package_are_relative() -> None:
    """
    A module names its own package only with dots, so that the package can be moved as a whole.
    """
    assert [] == [
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, root in _absolute_imports(path)
        if root == package
    ]


def _absolute_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Give the line and the top-level name of each import without dots in *path*."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


def _lint_order(name: str) -> tuple[int, list[tuple[int, str]]]:
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return kind, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
