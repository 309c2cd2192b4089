from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath

import pytest

from tests._compiled import needs_compiled

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
NATIVE = {f"{package}/_native{SUFFIX}" for package in ("hydra/engine", "fallbacks")}
STUBS = {"hydra/engine/_native.pyi", "fallbacks/_native.pyi"}

# What an installation and a work tree have beside the source.
NOT_SOURCE = shutil.ignore_patterns(
    ".*", "__pycache__", "*.so", "*.egg-info", "build", "dist", "*.held", "*.log"
)


@pytest.fixture(name="built", scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build sdist and wheel with the backend that is installed, so that no index is needed."""
    # From a copy: what setuptools leaves in its tree would be in the next wheel.
    source = tmp_path_factory.mktemp("source") / "hydra"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    directory = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory)]
    result = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)

    assert 0 == result.returncode, result.stdout + result.stderr

    return directory


@pytest.fixture(name="wheel", scope="module")
def _wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
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
    Nothing but modules, typing markers, JSON data and the extensions are installed.
    """
    strange = {
        path.as_posix()
        for path in files
        if path.parts[0] in {"hydra", "fallbacks"}
        and path.suffix not in {".py", ".json"}
        and path.name != "py.typed"
    }

    assert set() == strange - NATIVE - STUBS


@needs_compiled
def test_wheel_holds_the_compiled_call_path(wheel: Path, files: list[PurePosixPath]) -> None:
    """
    The call path is compiled for the interpreter that builds, and the wheel's name says so.
    """
    interpreter = f"cp{sys.version_info[0]}{sys.version_info[1]}"

    assert set() == NATIVE - {path.as_posix() for path in files}
    assert f"-{interpreter}-{interpreter}-" in wheel.name


def test_sdist_holds_what_a_build_needs(built: Path) -> None:
    """
    The source distribution has the code in both languages, the tests, and nothing that was built.
    """
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    source = {
        path.relative_to(ROOT).as_posix()
        for room in ("hydra", "fallbacks", "native", "tests", "benchmarks", "examples", "scripts")
        for kind in ("*.py", "*.pyi", "*.c", "*.h", "*.json", "*.typed")
        for path in (ROOT / room).rglob(kind)
    }
    source |= {"setup.py", "pyproject.toml", "Makefile", "README.md", "LICENSE", "CONTRIBUTING.md"}

    assert set() == source - names
    assert [] == [name for name in names if name.endswith((".so", ".pyc"))]


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
