"""
Steps: what a delivery asks its driver to do, and what it tells in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Try:
    """Write the lines at *indices* to the tier, within *seconds*; then `feed` the answer."""

    tier: int
    indices: Sequence[int]
    seconds: float
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Hold(Try):
    """As `Try`, on a holding tier: lines it takes are kept for replay."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let *seconds* pass, then ask again; asking early is harmless."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """Every line is settled or rejected."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No tier will take the lines that are left, and waiting was not allowed."""


Step: TypeAlias = Try | Wait | Done | GiveUp
DONE: Final = Done()
GIVE_UP: Final = GiveUp()


@dataclass(frozen=True, slots=True)
class Settled:
    """Which lines a tier took; `suspect` when an earlier tier may have them too."""

    tier: int
    indices: Sequence[int]
    suspect: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that *tier* will never take, on behalf of the destination, and why."""

    tier: int
    index: int
    error: BaseException | str | None
