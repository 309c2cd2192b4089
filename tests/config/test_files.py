from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hydra.config import _files
from hydra.config._files import LARGEST, read_file
from hydra.core.exceptions import ConfigurationError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.toml", b'level = "info"\n', {"level": "info"}),
        ("a.json", b'\xef\xbb\xbf{"level": "info"}', {"level": "info"}),
        ("a.yaml", b"level: info\n", {"level": "info"}),
        ("A.YML", b"queue: {records: 5}\n", {"queue": {"records": 5}}),
        ("a.toml", b"", {}),
        ("a.json", b" \n", {}),
        ("a.yaml", b"# nothing\n", {}),
    ],
)
def test_read(tmp_path: Path, name: str, content: bytes, expected: object) -> None:
    """
    The ending decides; an empty file is an empty configuration.
    """
    file = tmp_path / name
    file.write_bytes(content)

    assert expected == read_file(file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"level = 1\nx = = 1\n", "at line 2, column 5"),
        ("a.json", b'{\n "a": }', "at line 2, column 7"),
        ("a.yaml", b"a: 1\nb: [1\n", "at line 3, column 1"),
        ("a.yaml", b"a: \x07\n", "is not valid YAML"),
        ("a.yaml", b"a: 2026-02-31\n", "is not valid YAML"),
        ("a.yaml", b"a: !!python/object/apply:os.system [id]\n", "is not valid YAML"),
        ("a.toml", b"a = 1\nb = '\xff'\n", "is not UTF-8 (at line 2, column 6)"),
        ("a.json", b"[" * 100_000, "is nested too deeply"),
        ("a.yaml", b"app: " + b"[{" * 300, "is nested too deeply"),
        ("a.toml", b"app = " + b"[" * 5_000, "is nested too deeply"),
        ("a.json", b"[1]", "must hold a table"),
        ("a.json", b" " * (LARGEST + 1), "is larger than"),
        ("a.ini", b"", "is of an unknown kind"),
    ],
)
def test_malformed(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """
    A file that is not what its ending says is one problem with line and column.
    """
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_file(file)

    assert message in str(caught.value)
    assert [str(file)] == [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["missing.toml", "nul\0.toml"])
def test_unreadable(tmp_path: Path, name: str) -> None:
    """
    A file that cannot be opened is a problem, whatever the reason.
    """
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_file(tmp_path / name)


def test_yaml_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without PyYAML the message is the line to type.
    """
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "a.yaml"
    file.write_text("level: info\n")
    with pytest.raises(ConfigurationError) as caught:
        read_file(file)

    assert 'pip install "hydra-log[yaml]"' in str(caught.value)


def test_deep_file_costs_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is nested too deeply is refused before a parser walks into it.
    """
    file = tmp_path / "a.yaml"
    file.write_text("app: " + "[" * 201 + "\n")
    monkeypatch.setitem(_files._KINDS, ".yaml", lambda text, name: pytest.fail("parsed"))

    with pytest.raises(ConfigurationError, match="nested too deeply"):
        read_file(file)


def test_many_brackets_beside_each_other(tmp_path: Path) -> None:
    """
    Brackets that are closed again are no depth, however many there are.
    """
    file = tmp_path / "a.yaml"
    file.write_text("app: shop\n#" + "[]" * 1000 + "\n")

    assert {"app": "shop"} == read_file(file)
