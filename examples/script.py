"""
A plain script: no event loop, nothing to start, nothing to stop.

    python examples/script.py [DIRECTORY]

It logs into DIRECTORY/import.log (`logs` by default) and shows warnings on
standard error. What is queued at the end is written when the interpreter exits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import hydra

log = hydra.get_logger("import")

ROWS = ["4,apple", "2,pear", "many,plum", "7,quince"]


def parse(row: str) -> tuple[str, int]:
    """Return name and count of a row."""
    count, name = row.split(",")
    return name, int(count)


def main(directory: Path) -> None:
    """Import all rows that can be read."""
    hydra.configure(
        app="import-example",
        level="debug",
        destinations=[
            {"name": "app", "type": "file", "path": str(directory / "import.log")},
            {"type": "console", "format": "text", "level": "warning"},
        ],
    )
    imported = 0
    with log.timed("import finished") as facts:
        for number, row in enumerate(ROWS, 1):
            with hydra.context(row=number):
                try:
                    name, count = parse(row)
                except ValueError:
                    log.exception("row cannot be read", text=row)
                    continue
                log.debug("row imported", name=name, count=count)
                imported += 1
        facts["imported"] = imported
    stats = hydra.flush()
    print(f"imported {imported} of {len(ROWS)} rows; balanced: {stats.balanced}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "logs"))
