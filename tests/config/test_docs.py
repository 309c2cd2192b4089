from __future__ import annotations

import re
from pathlib import Path

import pytest

from hydra.config import PRESETS, Settings, load
from hydra.config._options import CLASSES, TABLES, defaults
from scripts import option_tables as script

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "configuration.md"


def test_page_and_table_agree() -> None:
    """
    The reference page shows what the option tables say, with no table left out.
    """
    page = PAGE.read_text(encoding="utf-8")
    shown = set(re.findall(r"<!-- options: ([a-z]+) -->", page))

    assert page == script.rendered(page), "run scripts/option_tables.py"
    assert {*TABLES, "presets"} == shown


@pytest.mark.parametrize("name", TABLES)
def test_table_and_class_agree(name: str) -> None:
    """
    Each option is a field of the settings class and each field an option, in one order.
    """
    assert CLASSES[name].__struct_fields__ == tuple(option.name for option in TABLES[name])


@pytest.mark.parametrize("name", TABLES)
def test_defaults_pass_their_own_parser(name: str) -> None:
    """
    What an option is by default is a value that could be given for it.
    """
    fixed = defaults(name)
    parsed = {
        option.name: option.parse(fixed[option.name])
        for option in TABLES[name]
        if fixed.get(option.name) is not None
    }

    assert {key: value for key, value in fixed.items() if value is not None} == parsed


@pytest.mark.parametrize("suffix", [".toml"])
def test_example_file_of_the_page_loads(suffix: str, tmp_path: Path) -> None:
    """
    The example file can be copied as it stands.
    """
    text = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    file = tmp_path / f"hydra{suffix}"
    file.write_text(text, encoding="utf-8")
    settings = load(file, environ={})

    assert ("app", "payments") == tuple(
        destination.name for destination in settings.layers["payments"].destinations
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads(preset: str) -> None:
    """
    A preset is made of options that exist.
    """
    settings = load(preset=preset, environ={}, keywords={"app": "shop"})

    assert isinstance(settings, Settings)
