"""
One program, in a process of its own: `python -m benchmarks.child FIGURE LIBRARY RESULT ARGUMENTS`.

RESULT is the file for what it has to say, since standard output may be what is measured;
ARGUMENTS are JSON. FIGURE `about` measures nothing and says what the library is.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from typing import Any

from . import figures, peers


def about(adapter: peers.Adapter) -> dict[str, Any]:
    """Return what a table says about a library."""
    for module in adapter.modules:
        importlib.import_module(module)
    return {
        "version": adapter.version(),
        "python": platform.python_version(),
        "page": adapter.page,
        "plain": adapter.plain,
        **adapter.promises._asdict(),
    }


def answer(figure: str, library: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what the program measured, or why it could not."""
    adapter = peers.load(library)
    try:
        if figure == "about":
            return about(adapter)
        return asdict(figures.load(figure).program(adapter, **arguments))
    except peers.Unsupported as error:
        return {"unsupported": str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def main(figure: str, library: str, result: str, arguments: str) -> None:
    """Run a program, write its result, and end, whatever the library left running."""
    said = answer(figure, library, json.loads(arguments))
    with open(result, "w", encoding="utf-8") as file:
        json.dump(said, file)
    # All was closed; what a library does at exit is no part of any figure.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
