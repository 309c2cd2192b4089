"""
Noise: what somebody's code prints and logs while it is tried.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what is printed and what is logged, by whatever thread."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(f"logged by {record.name!r}: {record.getMessage()}")

    root, ear, out, err = logging.getLogger(), Ear(), io.StringIO(), io.StringIO()
    level = root.level
    root.addHandler(ear)
    root.setLevel(min(level, logging.INFO))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield heard
    finally:
        root.setLevel(level)
        root.removeHandler(ear)
    for name, text in (("output", out.getvalue()), ("error", err.getvalue())):
        if text:
            heard.append(f"standard {name}: {text!r}")
