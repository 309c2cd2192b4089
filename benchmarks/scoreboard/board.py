"""
What a program says about itself in memory that it shares with its supervisor.

A file, mapped: what was written is there however the program ends. The head is a row
of 64-bit numbers, then comes one byte for each record.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntEnum
from typing import Final, Self

_NUMBER: Final = struct.Struct("=q")
_HEAD: Final = 256


class Slot(IntEnum):
    """A number on the board; times are nanoseconds of the monotonic clock."""

    BEGAN = 0
    """When the first record was about to be logged."""
    CALLING = 1
    """When the call under way began; 0 when there is none."""
    WORST = 2
    """How long the longest call took."""
    RAISED = 3
    """How many calls raised."""
    DONE = 4
    """When the program had made its last call and was left to its fate."""
    STALL = 5
    """The longest stall of the event loop."""
    WITHOUT = 6
    """The same before anything was logged."""
    SAID = 7
    """How many lost records the library itself told the program of."""
    HUNG = 8
    """Children that had to be killed."""


class Acknowledged(IntEnum):
    """What the byte of a record says."""

    NOT = 0
    INFO = 1
    ERROR = 2


class Board:
    """The board in *path*, made when *records* are given."""

    def __init__(self, path: str, records: int | None = None) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if records is not None:
                os.ftruncate(fd, _HEAD + records)
            self._map = mmap.mmap(fd, 0)
        finally:
            os.close(fd)

    def put(self, slot: Slot, value: int) -> None:
        _NUMBER.pack_into(self._map, slot * 8, value)

    def get(self, slot: Slot) -> int:
        value: int = _NUMBER.unpack_from(self._map, slot * 8)[0]
        return value

    def acknowledge(self, seq: int, kind: Acknowledged) -> None:
        self._map[_HEAD + seq] = kind

    def acknowledged(self, kind: Acknowledged) -> set[int]:
        """Return the numbers of the records that were acknowledged."""
        return {seq for seq, said in enumerate(self._map[_HEAD:]) if said == kind}

    def close(self) -> None:
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
