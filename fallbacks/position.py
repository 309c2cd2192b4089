"""
A place in a destination's file: how far it is known to be written.
"""

from __future__ import annotations

from msgspec import Struct


class Position(Struct, frozen=True):
    """
    A place in one file: nothing that its writer wrote later stands before it.

    Args:
        dev: Device of the file.
        ino: Inode of the file.
        offset: Bytes from its start.
    """

    dev: int
    ino: int
    offset: int
