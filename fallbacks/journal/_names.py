"""
Names of segment files: `<app>.<boot>.<pid>.<start>.<run>.<k>.j`.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

SUFFIX: Final = ".j"
BAD: Final = ".bad"
"""Added to the name of a damaged segment when its records are safe elsewhere."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class SegmentName(Struct, frozen=True):
    """What the name of a segment file says; *app* is there in the form of `safe_name`."""

    app: str
    boot: str
    pid: int
    start: str
    run: str
    number: int

    def __str__(self) -> str:
        parts = (self.app, self.boot, self.pid, self.start, self.run, self.number)
        return ".".join(map(str, parts)) + SUFFIX


def safe_name(app: str) -> str:
    """Return *app* as it appears in file names."""
    return _UNSAFE.sub("_", app).lstrip(".") or "_"


def short_boot(boot: str) -> str:
    """Return a boot id as it appears in file names."""
    return boot.replace("-", "")[:8] or "00000000"


def parse_name(name: str) -> SegmentName | None:
    """Return the parts of a segment's file name; None if it is not one."""
    if not name.endswith(SUFFIX) or name.startswith("."):
        return None
    parts = name[: -len(SUFFIX)].rsplit(".", 5)
    if len(parts) != 6 or not all(parts):
        return None
    app, boot, pid, start, run, number = parts
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in (pid, number)):
        return None
    return SegmentName(app, boot, int(pid), start, run, int(number))
