from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hydra.config._app import default_app

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/srv/shop.py"], "shop"),
        (["/srv/shop/__main__.py"], "shop"),
        (["/usr/bin/gunicorn-3.11"], "gunicorn-3.11"),
        (["my app.pyz"], "my-app"),
        (["../../.."], "python"),
        (["x" * 80], "x" * 64),
        (["-c"], "python"),
        (["-m"], "python"),
        ([""], "python"),
        ([], "python"),
    ],
)
def test_name_of_the_program(argv: list[str], expected: str) -> None:
    """
    The app is called after the program, in letters that a file name can have.
    """
    assert expected == default_app(argv)


def test_at_the_prompt() -> None:
    """
    At a prompt there is no program.
    """
    assert "interactive" == default_app([""], interactive=True)


def test_main_file_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A bare __main__.py is called after its directory; if that is gone, not at all.
    """
    directory = tmp_path / "shop"
    directory.mkdir()
    monkeypatch.chdir(directory)

    assert "shop" == default_app(["__main__.py"])

    directory.rmdir()

    assert "python" == default_app(["__main__.py"])


def test_import_stays_cheap() -> None:
    """
    Importing and loading with nothing configured pulls in no reader of files.
    """
    code = (
        "import sys, hydra.config as c; c.load(environ={});"
        "print([m for m in ('asyncio', 'anyio', 'logging', 'tomllib', 'yaml', 'difflib', 'click',"
        " 'concurrent.futures') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        cwd=Path(__file__).resolve().parents[2],
    )

    assert "[]\n" == answer.stdout
