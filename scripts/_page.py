"""
A page of the documentation of which a script writes a part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


def update(
    page: Path, rendered: Callable[[str], str], arguments: Sequence[str], *, root: Path, script: str
) -> int:
    """
    Bring *page* up to date, or with `--check` say that it is not; return the exit status.

    Args:
        page: The file.
        rendered: Returns the page as it should be.
        arguments: Of the command line.
        root: The project, to name the page from.
        script: Whom to tell the user to run.
    """
    before = page.read_text(encoding="utf-8")
    after = rendered(before)
    if before == after:
        return 0
    if "--check" in arguments:
        print(f"{page.relative_to(root)} is out of date: run scripts/{script}.py")
        return 1
    page.write_text(after, encoding="utf-8")
    return 0
