"""
The screen of the outage demo: a table that lives on a terminal, plain lines elsewhere.

On a terminal the last row is drawn again ten times a second and stays when the
next event comes. Anywhere else, or with `NO_COLOR`, one row a second is printed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from time import monotonic
from typing import Final, TypeAlias

Facts: TypeAlias = Mapping[str, object]

COLUMNS: Final = {"accepted": 9, "delivered": 10, "queued": 7, "held": 7, "dropped": 8}
"""Figures of a row, and how wide they are."""
_COLORS: Final = {
    "closed": "\x1b[32m",
    "open": "\x1b[31m",
    "probing": "\x1b[33m",
    "busy": "\x1b[33m",
}
# What a breaker's words mean to somebody who sees them for the first time.
_WORDS: Final = {"closed": "ok", "open": "resting", "probing": "probing", "busy": "busy"}


class Screen:
    """Shows rows of figures and, between them, events."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._live = terminal and not os.environ.get("NO_COLOR")
        self._open = False
        self._shown_at = 0.0

    def head(self) -> None:
        """Print the names of the columns."""
        names = "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
        print(f"{'time':8}  {'phase':13}{names}  tiers")

    def row(self, phase: str, facts: Facts, *, keep: bool = False) -> None:
        """
        Show *facts*, in place of the last row when that may still be overwritten.

        Args:
            phase: The phase of the demo, at most 13 characters.
            facts: A line of the service's statistics.
            keep: Whether the row is printed even if the last one is younger than a second.
        """
        now = monotonic()
        if not self._live:
            if keep or now - self._shown_at >= 1.0:
                self._shown_at = now
                print(self._row(phase, facts), flush=True)
            return
        sys.stdout.write(f"\r\x1b[2K{self._row(phase, facts)}")
        self._open = True
        if keep:
            self._end_row()
        sys.stdout.flush()

    def event(self, said: str) -> None:
        """Print what has just happened, with the time."""
        self._end_row()
        bold, plain = ("\x1b[1m", "\x1b[0m") if self._live else ("", "")
        print(f"{_now()}  {bold}* {said}{plain}", flush=True)

    def text(self, said: str) -> None:
        """Print *said* as it is."""
        self._end_row()
        print(said, flush=True)

    def _end_row(self) -> None:
        if self._open:
            sys.stdout.write("\n")
            self._open = False

    def _row(self, phase: str, facts: Facts) -> str:
        figures = "".join(f"{facts[name]!s:>{width}}" for name, width in COLUMNS.items())
        tiers = facts["tiers"]
        assert isinstance(tiers, Mapping)
        row = f"{_now()}  {phase:13}{figures}  "
        words = [
            (name, str(state), _WORDS.get(str(state), str(state))) for name, state in tiers.items()
        ]
        plain = row + "  ".join(f"{name} {word}" for name, _, word in words)
        if not self._live:
            return plain
        if len(plain) >= (width := shutil.get_terminal_size().columns):
            # A row that wraps could not be drawn again in its place.
            return plain[: width - 1]
        return row + "  ".join(
            f"{name} {_COLORS.get(state, '')}{word}\x1b[0m" for name, state, word in words
        )


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
