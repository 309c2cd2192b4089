"""
The kinds of figures: one module for each, in the order of the page.

A module has `TITLE`, `NOTE`, `METRICS` and two functions. `cases(scale)` returns the
arguments of each case, by the name of the case. `program(adapter, **arguments)` runs in a
process of its own in the peers' environment, in an empty directory, and returns a
`Measured`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from ..peers.adapter import Adapter

NAMES: Final = (
    "throughput",
    "latency",
    "calls",
    "errors",
    "sizes",
    "destinations",
    "start",
    "memory",
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a program measures: its heading, its unit, and whether more is better."""

    title: str
    unit: str
    more: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """
    How much is done.

    Args:
        seconds: How long a producer logs.
        calls: How often a single call is timed.
        hang: Seconds that a sink hangs.
        records: How many records a long-lived process has logged.
        patience: Seconds after which a program is ended and refused.
    """

    seconds: float
    calls: int
    hang: float
    records: int
    patience: float


FULL: Final = Scale(seconds=0.2, calls=4_000, hang=0.5, records=50_000, patience=6.0)
QUICK: Final = Scale(seconds=0.03, calls=200, hang=0.1, records=2_000, patience=20.0)
LONG: Final = Scale(seconds=1.0, calls=20_000, hang=3.0, records=10_000_000, patience=3600.0)


@dataclass(slots=True)
class Measured:
    """
    What a program has to say.

    Args:
        values: By the names of the module's `METRICS`.
        path: The file that was logged to; empty where nothing is to be verified.
        files: Where that is no file of the adapter's, the files to read instead.
        copies: More files that each have all of it.
        counts: How many records each producer made.
        may_drop: Whether a record may be missing: not what is measured, but shown.
        least: Bytes that the files must have at least.
    """

    values: dict[str, float]
    path: str = ""
    files: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    may_drop: bool = False
    least: int = 0


class Figure(Protocol):
    """A module of this package."""

    TITLE: str
    NOTE: str
    METRICS: dict[str, Metric]
    cases: Callable[[Scale], dict[str, dict[str, Any]]]
    program: Callable[..., Measured]


def load(name: str) -> Figure:
    """
    Return the module of a figure.

    Raises:
        ValueError: If no figure is called *name*.
    """
    if name not in NAMES:
        raise ValueError(f"no figure is called {name!r}; there are: {', '.join(NAMES)}")
    return cast("Figure", importlib.import_module(f".{name}", __name__))


__all__ = [
    "FULL",
    "LONG",
    "NAMES",
    "QUICK",
    "Adapter",
    "Figure",
    "Measured",
    "Metric",
    "Scale",
    "load",
]
