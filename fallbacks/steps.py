"""
Steps: what a delivery asks its driver to do, and what it tells in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from msgspec import Struct


class Try(Struct, frozen=True):
    """Write the lines at *indices* to the tier, within *seconds*; then `feed` the answer."""

    tier: int
    indices: Sequence[int]
    seconds: float
    duplicate: bool


class Hold(Try, frozen=True):
    """As `Try`, on a holding tier: lines it takes are kept for replay."""


class Wait(Struct, frozen=True):
    """Let *seconds* pass, then ask again; asking early is harmless."""

    seconds: float


class Done(Struct, frozen=True):
    """Every line is settled or rejected."""


class GiveUp(Struct, frozen=True):
    """No tier will take the lines that are left, and waiting was not allowed."""


Step: TypeAlias = Try | Wait | Done | GiveUp
DONE: Final = Done()
GIVE_UP: Final = GiveUp()


class Settled(Struct, frozen=True):
    """Which lines a tier took; `suspect` when an earlier tier may have them too."""

    tier: int
    indices: Sequence[int]
    suspect: bool


class Rejected(Struct, frozen=True):
    """A line that *tier* will never take, on behalf of the destination, and why."""

    tier: int
    index: int
    error: BaseException | str | None
