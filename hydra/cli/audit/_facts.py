"""
What the input shows, collected per file and per destination; no judgement.

Rule 1: memory follows the number of runs and holes, not the number of lines.
Rule 2: facts can be merged in any order, and taking the same declaration in
twice changes nothing: a log that was copied or read together with its rotated
siblings must not excuse more than it did when it was written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from ._cover import Coarse
from ._intervals import IntervalSet
from ._lines import Entry, decode, number_of, read_control, read_line

Kind = Literal["log", "held", "journal"]
Label = tuple[str, str]
"""The event and the reason of a declaration, as in `("drops", "queue_full")`."""

HANDLED: Final = frozenset({"drops", "diverted"})
# More than the judgement asks for: seconds that clocks and replay bring out of order.
_SECONDS: Final = 8


@dataclass(slots=True)
class StreamFacts:
    """
    One stream as seen from one destination.

    Args:
        seen: Numbers found in log files.
        held: Numbers found in segments, waiting to be replayed to the destination.
        written: Numbers that a segment's acknowledgements say are in the file.
        elsewhere: Numbers acknowledged by something that is not a file.
        repeats: How often a number in *seen* was found again.
        began: For the newest seconds, the lowest number of a record of that second.
    """

    seen: IntervalSet = field(default_factory=IntervalSet)
    held: IntervalSet = field(default_factory=IntervalSet)
    written: IntervalSet = field(default_factory=IntervalSet)
    elsewhere: IntervalSet = field(default_factory=IntervalSet)
    repeats: int = 0
    began: dict[str, int] = field(default_factory=dict)
    second: str = ""
    """That of the record taken last."""

    def enter(self, second: str, number: int) -> None:
        """Note that record *number* is of *second*, written as in a timestamp."""
        self.second = second
        self.began[second] = min(number, self.began.get(second, number))
        if len(self.began) > _SECONDS:
            del self.began[min(self.began)]

    def merge(self, other: StreamFacts) -> None:
        """Take in what another file says about the same stream."""
        for second, number in other.began.items():
            self.enter(second, number)
        self.repeats += other.repeats + self.seen.overlap(other.seen)
        self.seen.update(other.seen)
        self.held.update(other.held)
        self.written.update(other.written)
        self.elsewhere.update(other.elsewhere)


@dataclass(slots=True)
class RunFacts:
    """
    One process run as seen from one destination.

    Args:
        since: Timestamp of the first line met.
        journaled: Whether a journal segment of the run was among the input.
        closes: Per control stream, the number and totals of its last close record.
        exact: Declared numbers by stream and label.
        coarse: Declarations of fewer numbers than their range has, by stream,
            each keyed by the control record it came from.
    """

    since: str = ""
    journaled: bool = False
    streams: dict[str, StreamFacts] = field(default_factory=dict)
    closes: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict)
    exact: dict[str, dict[Label, IntervalSet]] = field(default_factory=dict)
    coarse: dict[str, dict[tuple[str, int, int], Coarse]] = field(default_factory=dict)

    def stream(self, name: str) -> StreamFacts:
        """Return the facts of stream *name*, new ones at first."""
        return self.streams.setdefault(name, StreamFacts())

    def declare(self, stream: str, number: int, raw: bytes) -> str | None:
        """
        Take in control record *number* of control stream *stream*.

        Returns:
            The destination it names, if it names one.
        """
        control = read_control(raw)
        if control is None:
            return None
        if control.event == "close":
            self._close(stream, number, control.totals)
        elif control.event in HANDLED:
            for place, gap in enumerate(control.gaps):
                label = (control.event, gap.reason)
                if gap.count == gap.last - gap.first + 1:
                    labels = self.exact.setdefault(gap.stream, {})
                    labels.setdefault(label, IntervalSet()).add_range(gap.first, gap.last)
                else:
                    self.coarse.setdefault(gap.stream, {})[stream, number, place] = Coarse(
                        gap.first, gap.last, gap.count, label
                    )
        return control.destination

    def _close(self, stream: str, number: int, totals: dict[str, int]) -> None:
        known = self.closes.get(stream)
        if known is None or known[0] < number:
            self.closes[stream] = (number, totals)

    def merge(self, other: RunFacts) -> None:
        """Take in what another file says about the same run."""
        if other.since and (not self.since or other.since < self.since):
            self.since = other.since
        self.journaled = self.journaled or other.journaled
        for name, stream in other.streams.items():
            self.stream(name).merge(stream)
        for name, (number, totals) in other.closes.items():
            self._close(name, number, totals)
        for name, labels in other.exact.items():
            mine = self.exact.setdefault(name, {})
            for label, numbers in labels.items():
                mine.setdefault(label, IntervalSet()).update(numbers)
        for name, ranges in other.coarse.items():
            self.coarse.setdefault(name, {}).update(ranges)


@dataclass(slots=True)
class FileFacts:
    """
    One file of the input.

    Args:
        path: The file, as the user named it.
        kind: What it was recognised as.
        identity: Device and inode; what journals and held segments call a file by.
        names: Destinations that its control records or its header name.
        aims: Device and inode of the file that a held segment is a fallback of.
        torn: Lines that are damaged.
        foreign: Lines that are JSON objects and no records of Hydra.
        open_end: Whether a damaged line follows the last close record.
        damage: What else is wrong with the file, for people.
    """

    path: str
    kind: Kind = "log"
    identity: tuple[int, int] = (0, 0)
    names: set[str] = field(default_factory=set)
    aims: tuple[int, int] | None = None
    runs: dict[str, RunFacts] = field(default_factory=dict)
    torn: int = 0
    foreign: int = 0
    entries: int = 0
    closed: bool = False
    open_end: bool = False
    damage: list[str] = field(default_factory=list)
    _ordinary: dict[str, StreamFacts] = field(default_factory=dict)

    def run(self, name: str) -> RunFacts:
        """Return the facts of run *name*, new ones at first."""
        return self.runs.setdefault(name, RunFacts())

    def take(self, line: bytes) -> None:
        """Take in one line of a log file."""
        # The first half is the whole of `read_line` for a sound record of a known
        # stream; ten million lines spend most of their time in it.
        try:
            stamped = decode(line)
            key, _, digits = stamped.id.rpartition("-")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # `_take_slowly` reads it again and says what is wrong with it
        else:
            stream = self._ordinary.get(key)
            if stream is not None and (number := number_of(digits)):
                self.entries += 1
                if not stream.seen.add(number):
                    stream.repeats += 1
                if (second := stamped.timestamp[:19]) != stream.second:
                    stream.enter(second, number)
                return
        self._take_slowly(line)

    def _take_slowly(self, line: bytes) -> None:
        reading = read_line(line)
        self.foreign += reading.foreign
        if reading.torn:
            self.tear()
        for entry in reading.entries:
            self.entries += 1
            run, stream = self.place(entry)
            facts = run.stream(stream)
            if not facts.seen.add(entry.number):
                facts.repeats += 1
            elif stream.endswith("c"):
                self.declare(run, stream, entry)
            if not stream.endswith("c"):
                self._ordinary[entry.key] = facts
                facts.enter(entry.timestamp[:19], entry.number)

    def place(self, entry: Entry) -> tuple[RunFacts, str]:
        """Return the run that *entry* belongs to, and the name of its stream."""
        name, _, stream = entry.key.partition(".")
        run = self.run(name)
        if not run.since:
            run.since = entry.timestamp
        return run, stream

    def declare(self, run: RunFacts, stream: str, entry: Entry) -> None:
        """Take in the declaration of the control record *entry*."""
        closes = len(run.closes), run.closes.get(stream)
        destination = run.declare(stream, entry.number, entry.raw)
        if destination is not None:
            self.names.add(destination)
        if closes != (len(run.closes), run.closes.get(stream)):
            self.closed = True
            self.open_end = False

    def tear(self) -> None:
        """Count a damaged line."""
        self.torn += 1
        self.open_end = self.closed
