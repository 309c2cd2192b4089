"""
The arithmetic of the figures: percentiles, medians of rounds, ratios.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """
    Return the smallest value that at least *percent* of all are not above.

    A value that was measured, never one in between: the tail is what matters, and there
    are few values in it.

    Raises:
        ValueError: If there are no values.
    """
    if not ordered:
        raise ValueError("no values")
    rank = math.ceil(len(ordered) * percent / 100.0)
    return ordered[max(rank, 1) - 1]


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Return each of `PERCENTILES` of *values*."""
    ordered = sorted(values)
    return {name: percentile(ordered, percent) for name, percent in PERCENTILES.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, the lowest and the highest of them."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """
    Return median and spread of *values*.

    Raises:
        ValueError: If there are none.
    """
    if not values:
        raise ValueError("no values")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio(value: float, other: float) -> float | None:
    """Return how many times *other* a *value* is; None where nothing can be said."""
    return value / other if other > 0 else None


def best(values: dict[str, float], *, more: bool) -> str | None:
    """Return whose value is the best; None if there are none."""
    if not values:
        return None
    return (max if more else min)(values, key=lambda name: values[name])
