from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the backend that is installed, so that no index is needed."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    result = subprocess.run(
        [*command, "--outdir", str(directory), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == result.returncode, result.stdout + result.stderr

    (path,) = directory.iterdir()
    return path


@pytest.fixture(name="files", scope="module")
def _files(wheel: Path) -> list[PurePosixPath]:
    with zipfile.ZipFile(wheel) as archive:
        return [PurePosixPath(name) for name in archive.namelist()]


@pytest.fixture(name="metadata", scope="module")
def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_wheel_holds_the_two_packages(files: list[PurePosixPath]) -> None:
    """
    The wheel installs hydra and fallbacks, and no tests, examples or benchmarks.
    """
    assert {"hydra", "fallbacks", "hydra_log-0.1.0.dist-info"} == {path.parts[0] for path in files}


def test_wheel_holds_all_code(files: list[PurePosixPath]) -> None:
    """
    Each module of the source tree is in the wheel.
    """
    code = {
        path.relative_to(ROOT).as_posix()
        for package in ("hydra", "fallbacks")
        for path in (ROOT / package).rglob("*.py")
    }

    assert set() == code - {path.as_posix() for path in files}


def test_wheel_holds_code_and_data_only(files: list[PurePosixPath]) -> None:
    """
    Nothing but modules, typing markers and JSON data is installed.
    """
    strange = [
        path.as_posix()
        for path in files
        if path.parts[0] in {"hydra", "fallbacks"}
        and path.suffix not in {".py", ".json"}
        and path.name != "py.typed"
    ]

    assert [] == strange


@pytest.mark.parametrize("package", ["hydra", "fallbacks"])
def test_wheel_is_typed(files: list[PurePosixPath], package: str) -> None:
    """
    Both packages tell type checkers that their annotations count.
    """
    assert PurePosixPath(package, "py.typed") in files


def test_licence_is_in_the_wheel(files: list[PurePosixPath], metadata: Message) -> None:
    """
    The wheel names its licence and carries its text.
    """
    assert "Apache-2.0" == metadata["License-Expression"]
    assert 1 == sum(path.name == "LICENSE" for path in files)


def test_runtime_needs_five_distributions(metadata: Message) -> None:
    """
    A plain installation pulls the five declared dependencies and nothing else.
    """
    plain = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]

    assert ["aiofiles", "anyio", "click", "msgspec", "uvloop"] == sorted(
        line.partition(">")[0] for line in plain
    )


def test_uvloop_is_not_asked_for_on_windows(metadata: Message) -> None:
    """
    There is no uvloop for Windows, so an installation must not ask for it there.
    """
    (line,) = (
        line
        for line in metadata.get_all("Requires-Dist", [])
        if line.startswith("uvloop") and "extra" not in line
    )

    assert "sys_platform != 'win32'" == line.partition(";")[2].replace('"', "'").strip()


def test_linters_are_pinned() -> None:
    """
    Lint says the same on every machine, because its tools have exact versions.
    """
    dev = PROJECT["project"]["optional-dependencies"]["dev"]
    pinned = {line.partition("==")[0] for line in dev if "==" in line}

    assert {"mypy", "ruff"} == pinned


def test_exceptions_from_lint_give_their_reason() -> None:
    """
    Each rule that is switched off has its reason beside it.
    """
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("ignore = [")
    end = lines.index("]", start)

    assert [] == [line for line in lines[start + 1 : end] if "#" not in line]
