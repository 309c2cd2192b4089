"""
What goes wrong: one row for each fault, in the order of the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RECORDS: Final = 4_000
"""How many records the program logs."""
EVERY: Final = 20
"""One of so many is an ERROR."""
UNREAD: Final = 4.0
"""Seconds for which nobody reads standard output."""
BOUND: Final = 15.0
"""Seconds after the first call in which a program has to end."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing that goes wrong.

    Args:
        name: What it is called on the command line.
        title: What it is called on the page.
        note: What happens, in a sentence or two.
        target: Where the program logs to: `file`, a `full` one, a `flaky` stream, a `pipe`
            that nobody reads, or `stdout`.
        records: How many records are logged.
        every: One of so many is an ERROR.
    """

    name: str
    title: str
    note: str
    target: str = "file"
    records: int = RECORDS
    every: int = EVERY


FAULTS: Final = (
    Fault("sigkill", "SIGKILL", "The program kills itself right after its last call."),
    Fault("sigterm", "SIGTERM", "The same with SIGTERM, for which it has no handler."),
    Fault("os-exit", "os._exit", "The program ends by `os._exit(0)` after its last call."),
    Fault("uncaught", "Uncaught exception", "An exception ends the program; nothing is closed."),
    Fault("no-close", "Normal exit without close", "The program returns; nothing is closed."),
    Fault(
        "fork",
        "Fork under load",
        "Four threads log while the program forks eight times, one child after the other. "
        "Each child logs twenty records, closes and ends. A child that takes more than two "
        "seconds hangs, and is killed. Then the parent closes.",
    ),
    Fault(
        "full",
        "Disk full",
        "The file is `/dev/full`: each write fails with ENOSPC. At the next start there is "
        "room again.",
        target="full",
    ),
    Fault(
        "raises",
        "Sink raises once",
        "The stream that is logged to raises OSError at its fifth write, and takes all others.",
        target="flaky",
    ),
    Fault(
        "hangs",
        "Sink hangs",
        "The stream that is logged to is a pipe that nobody reads until the program has ended. "
        f"A program that has not ended {BOUND:g} s after its first call is killed.",
        target="pipe",
    ),
    Fault(
        "stdout",
        "Standard output unread",
        f"A service logs to its standard output for {UNREAD + 0.5:g} s, about a thousand "
        f"records a second; for the first {UNREAD:g} s nobody reads it. `stall` is the "
        "longest time that its event loop stood still; `without` is the same program's, with "
        "logging left out, in the same run.",
        target="stdout",
        records=20_000,
    ),
    Fault(
        "flood",
        "Flood",
        "20,000 INFO as fast as they go, and one ERROR in the middle of them; then close.",
        records=20_001,
        every=20_001,
    ),
)


def named(name: str) -> Fault:
    """
    Return the fault of that name.

    Raises:
        ValueError: If there is none.
    """
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise ValueError(f"no fault is called {name!r}; there are: {', '.join(f.name for f in FAULTS)}")


def is_error(fault: Fault, seq: int) -> bool:
    """Say whether record *seq* is an ERROR: the last of each group, of a single one the middle."""
    if fault.every == fault.records:
        return seq == fault.records // 2
    return seq % fault.every == fault.every - 1
