"""
Write the tables of the configuration reference from the option tables.

Run without arguments to rewrite docs/reference/configuration.md between its markers;
with `--check` to change nothing and fail when the page is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "configuration.md"
_BLOCK: Final = re.compile(
    r"(<!-- options: (?P<table>[a-z]+) -->\n).*?(<!-- end of options -->)", re.DOTALL
)

sys.path.insert(0, str(ROOT))

from hydra.config._options import TABLES, Option, defaults  # noqa: E402 - needs the path above.
from hydra.config._presets import PRESETS  # noqa: E402 - needs the path above.
from hydra.core.levels import level_name  # noqa: E402 - needs the path above.
from scripts._page import update  # noqa: E402 - needs the path above.


def table(name: str) -> str:
    """Return the Markdown table of the options of *name*, or of the presets."""
    if name == "presets":
        rows = [(f"`{key}`", str(preset.__doc__)) for key, preset in PRESETS.items()]
        return _markdown(("preset", "what it does"), rows)
    fixed = defaults(name)
    return _markdown(
        ("option", "value", "default", "meaning"),
        [
            (f"`{option.name}`", _kind(option), _default(option, fixed), _meaning(option))
            for option in TABLES[name]
        ],
    )


def rendered(page: str) -> str:
    """Return *page* with each marked block holding the current table."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{table(block['table'])}\n\n{block[3]}", page)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _kind(option: Option) -> str:
    return ", ".join(f"`{word}`" for word in option.choices) or option.kind


def _default(option: Option, fixed: dict[str, object]) -> str:
    if option.default:
        return option.default
    value = fixed[option.name]
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and option.kind in _WRITERS:
        value = _WRITERS[option.kind](value)
    elif isinstance(value, float):
        value = f"{value:g} s"
    return f"`{value}`"


def _meaning(option: Option) -> str:
    only = f" For {' and '.join(option.only)} only." if option.only else ""
    return option.doc + only


def _size(value: int) -> str:
    for factor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= factor and value % factor == 0:
            return f"{value // factor} {unit}"
    return str(value)


_WRITERS: Final = {
    "level": level_name,
    "octal": "0{:o}".format,
    "size": _size,
}


def main(arguments: list[str]) -> int:
    """Bring the page up to date, or say that it is not; return the exit status."""
    return update(PAGE, rendered, arguments, root=ROOT, script="option_tables")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
