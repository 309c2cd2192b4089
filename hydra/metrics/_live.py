"""
Live statistics: what a process tells others about itself, once a second, in a file.

Rule 1: the file is locked as long as its process lives, and no longer, so that a
dead process is told from a living one without asking for process ids.
Rule 2: a reading is whole or it is none; a reader never fails for what is in a file.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from ._stats import Stats

DIRECTORY: Final = "live"
"""The directory of the files, in the state directory of the app."""
SUFFIX: Final = ".live"
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of the largest file that is read."""

_MAGIC: Final = b"hydra-live 1\n"


class Reading(Struct, frozen=True, kw_only=True):
    """The statistics of one run of one process at one moment."""

    app: str
    run: str
    pid: int
    began: int
    """When the run was configured, in nanoseconds since the epoch."""
    time: int
    """When this was read, in nanoseconds since the epoch."""
    interval: float
    """Seconds to the next one."""
    stats: Stats


def encode(reading: Reading) -> bytes:
    """Return *reading* as the content of a file."""
    try:
        return _MAGIC + msgspec.msgpack.encode(reading)
    except UnicodeEncodeError:
        # A path, or what a sink has raised, with a lone surrogate.
        return _MAGIC + msgspec.msgpack.encode(_encodable(msgspec.to_builtins(reading)))


def _encodable(value: object) -> object:
    """Return *value*, of built-in types, with what UTF-8 has not as escapes."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(_encodable, value))
    return value


def decode(data: bytes) -> Reading | None:
    """Return what is in a file; None when it is of another version, or damaged."""
    if not data.startswith(_MAGIC):
        return None
    try:
        return msgspec.msgpack.decode(memoryview(data)[len(_MAGIC) :], type=Reading)
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError):
        return None
