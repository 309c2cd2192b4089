"""
What the commands that measure have in common: their arguments, the libraries, the result.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from . import peers, results
from .environment import Environment
from .runner import ask


class Pages(Protocol):
    """The module that makes pages of a result."""

    def publish(self, summary: dict[str, Any]) -> None:
        """Write them."""

    def tables(self, summary: dict[str, Any]) -> str:
        """Return the tables alone."""


def parser(name: str) -> argparse.ArgumentParser:
    """Return a parser of the arguments that every command takes."""
    found = argparse.ArgumentParser(prog=f"python -m {name}")
    found.add_argument("--only", action="append", default=[], metavar="NAME")
    found.add_argument("--json", metavar="FILE", help="write the result there")
    found.add_argument("--publish", action="store_true", help="write the pages in docs/")
    return found


def chosen(
    said: argparse.ArgumentParser, only: Sequence[str], *tables: Iterable[str]
) -> list[list[str]]:
    """Return the names in each of *tables* that *only* has: all of them where it has none."""
    known = [list(table) for table in tables]
    unknown = [name for name in only if not any(name in table for table in known)]
    if unknown:
        names = ", ".join(name for table in known for name in table)
        said.error(f"nothing is called {', '.join(unknown)}; there are: {names}")
    return [[name for name in table if name in only] or table for table in known]


def about(library: str, made: Environment) -> dict[str, Any]:
    """Return what *library* says of itself, or why it is absent."""
    directory = tempfile.mkdtemp(prefix="hydra-bench-")
    try:
        said = ask("about", library, {}, made.python, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if "error" in said:
        package = getattr(peers.load(library), "package", "") or library
        return {"absent": made.reason(package) or said["error"]}
    return said


def machine(expect: str) -> dict[str, Any]:
    """Return what the figures are measured on; where it is busy, say what to *expect* of them."""
    found = results.machine()
    if results.busy(found):
        print(f"this machine is busy (load {found['load']}): expect {expect}", file=sys.stderr)
    return found


def progress(whole: int) -> Callable[[str], None]:
    """Return what shows on standard error that one more of *whole* is done."""
    began, done = time.monotonic(), 0

    def told(what: str) -> None:
        nonlocal done
        done += 1
        print(f"{time.monotonic() - began:4.0f} s  {done}/{whole}  {what}", file=sys.stderr)

    return told


def hand_out(summary: dict[str, Any], options: argparse.Namespace, pages: Pages) -> None:
    """Write the result where *options* say; show it unless it is published."""
    if options.json:
        Path(options.json).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if options.publish:
        pages.publish(summary)
    else:
        print(pages.tables(summary))
