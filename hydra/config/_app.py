"""The name of the application, where nobody gives one: that of the program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from ._names import safe_name

_PYTHON: Final = "python"
_ENDINGS: Final = (".py", ".pyw", ".pyc", ".pyz", ".exe")


def default_app(argv: Sequence[str], *, interactive: bool = False) -> str:
    """
    Return the name for a program that was started with *argv*.

    The stem of the file; the package for `python -m package`; `interactive` at a
    prompt, and `python` where there is no file (`python -c`, an embedded interpreter).
    """
    program = argv[0] if argv else ""
    if program in ("", "-c", "-m", "-"):
        return "interactive" if interactive and program == "" else _PYTHON
    directory, base = os.path.split(program)
    if base == "__main__.py":
        try:
            base = os.path.basename(os.path.abspath(directory))
        except OSError:
            return _PYTHON  # The directory has no name any more: it was removed.
    stem, ending = os.path.splitext(base)
    return safe_name(stem if ending.lower() in _ENDINGS else base) or _PYTHON
