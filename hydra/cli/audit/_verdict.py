"""
The judgement: what is missing, what is accounted for, what nobody can know.

Rule 1: pure; facts in, verdicts out.
Rule 2: a number is missing when something proves that it was used (a higher
number, the totals of a close record, an acknowledgement) and nothing accounts
for it. When in doubt the answer is never `complete`.
Rule 3: without a close record the end of an ordinary stream cannot be known:
records in memory died with the process. Numbers are taken before the record is
queued, so that with several threads the last `TAIL` numbers may have holes too. And
drops are declared once a second: those of the last one died undeclared, so that
holes in front of the records of the last `SECONDS` prove nothing either.
Rule 4: a guaranteed record is in the journal before its call returns, but its number
is taken a moment earlier. A thread that was killed in that moment leaves a hole,
and was promised nothing: among the last `CALLS` numbers a hole proves no loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from ._cover import cover
from ._facts import FileFacts, Label, RunFacts, StreamFacts
from ._groups import Group
from ._intervals import IntervalSet, union

Word = Literal["complete", "unclean", "incomplete"]
TAIL: Final = 64
"""How many of the last numbers of a killed run's ordinary stream may have holes."""
SECONDS: Final = 2
"""How many seconds before its last record a killed run may have dropped without declaring it."""
CALLS: Final = 16
"""The same for the guaranteed stream: how many threads may have been inside of a call."""

_RANK: Final[dict[Word, int]] = {"complete": 0, "unclean": 1, "incomplete": 2}


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """
    One stream of one run in one destination.

    Args:
        name: As in `1r`.
        records: How many numbers the log files have.
        highest: The highest number known to have been used.
        total: What the close record says it must be; None without one.
        missing: Numbers that nothing accounts for.
        unknown: Holes near the end of a killed run's ordinary stream.
        unknown_after: The number after which nothing is proven; None when all is.
        held: Numbers that wait in a segment for replay.
        covered: How many numbers each declaration accounts for.
        duplicates: How many lines repeat an earlier one.
        after_close: Numbers used after the close record.
    """

    name: str
    records: int
    highest: int
    total: int | None
    missing: IntervalSet
    unknown: IntervalSet
    unknown_after: int | None
    held: IntervalSet
    covered: dict[Label, int]
    duplicates: int
    after_close: int

    def declared(self, event: str) -> int:
        """Return how many numbers the declarations of *event* account for."""
        return sum(count for (name, _), count in self.covered.items() if name == event)


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """One run in one destination."""

    run: str
    destination: str
    since: str
    closed: bool
    word: Word
    streams: tuple[StreamVerdict, ...]

    @property
    def records(self) -> int:
        """Distinct records found in log files; control records do not count."""
        return sum(each.records for each in self.streams if not each.name.endswith("c"))

    @property
    def missing(self) -> int:
        """Numbers of every lane that nothing accounts for."""
        return sum(len(each.missing) for each in self.streams)

    @property
    def held(self) -> int:
        """Records that wait in segments."""
        return sum(len(each.held) for each in self.streams if not each.name.endswith("c"))

    @property
    def duplicates(self) -> int:
        """Lines that repeat an earlier one."""
        return sum(each.duplicates for each in self.streams)

    def declared(self, event: str) -> int:
        """Return how many numbers the declarations of *event* account for."""
        return sum(each.declared(event) for each in self.streams)


@dataclass(frozen=True, slots=True)
class Report:
    """The judgement on the whole input, destination by destination."""

    sections: tuple[tuple[Group, tuple[RunVerdict, ...]], ...]
    files: tuple[FileFacts, ...]
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[RunVerdict, ...]:
        """The runs of every destination; one that wrote to two of them is here twice."""
        return tuple(run for _, runs in self.sections for run in runs)

    @property
    def torn(self) -> int:
        """Damaged lines."""
        return sum(each.torn for each in self.files)

    @property
    def verdict(self) -> Word:
        """The worst verdict of a run; at best `unclean` with damage after a close record."""
        words = [each.word for each in self.runs]
        if any(each.open_end for each in self.files):
            words.append("unclean")
        return max(words, key=_RANK.__getitem__, default="unclean")

    @property
    def missing_guaranteed(self) -> int:
        """Missing records of level ERROR and above."""
        return sum(
            len(stream.missing)
            for run in self.runs
            for stream in run.streams
            if stream.name.endswith("g")
        )


def judge(
    groups: Iterable[Group],
    files: Iterable[FileFacts],
    notes: Iterable[str],
    *,
    directory_given: bool,
) -> Report:
    """
    Return the judgement on the input.

    Args:
        groups: The destinations.
        files: Every file that was read.
        notes: What the reader has to say.
        directory_given: True when a directory of segments was read along, so that
            a run without a journal segment is one that has nothing left to replay.
    """
    sections = []
    for group in groups:
        runs = [
            judge_run(name, group.name, run, proven=directory_given or run.journaled)
            for name, run in group.runs.items()
            if any(each.seen or each.held or each.written for each in run.streams.values())
        ]
        runs.sort(key=lambda run: (run.since, run.run))
        sections.append((group, tuple(runs)))
    return Report(tuple(sections), tuple(files), tuple(notes))


def judge_run(name: str, destination: str, run: RunFacts, *, proven: bool) -> RunVerdict:
    """
    Return the verdict on one run.

    Args:
        name: The run.
        destination: The destination's name.
        run: What the input shows of it.
        proven: Whether its journal was read along.
    """
    totals: dict[str, int] = {}
    for _, each in run.closes.values():
        for stream, total in each.items():
            totals[stream] = max(total, totals.get(stream, 0))
    closed = _is_closed(run, totals)
    names = {*run.streams, *totals, *run.exact, *run.coarse}
    streams = tuple(
        _judge_stream(
            stream,
            run.streams.get(stream, StreamFacts()),
            run,
            totals.get(stream),
            closed=closed,
            proven=proven,
        )
        for stream in sorted(names, key=lambda stream: (int(stream[:-1]), stream[-1]))
    )
    word: Word = "complete" if closed else "unclean"
    if any(each.missing for each in streams):
        word = "incomplete"
    return RunVerdict(name, destination, run.since, closed, word, streams)


def _is_closed(run: RunFacts, totals: dict[str, int]) -> bool:
    # A process may configure again after a close; what it logs then goes by new
    # routes and is closed by a record of its own, or by none when it is killed.
    if not run.closes:
        return False
    closed_routes = {stream[:-1] for stream in totals}
    return all(
        stream in run.closes if stream.endswith("c") else stream[:-1] in closed_routes
        for stream, facts in run.streams.items()
        if facts.seen or facts.held
    )


def _judge_stream(
    name: str,
    facts: StreamFacts,
    run: RunFacts,
    total: int | None,
    *,
    closed: bool,
    proven: bool,
) -> StreamVerdict:
    held = facts.held.minus(union(facts.seen, facts.written, facts.elsewhere))
    present = union(facts.seen, held)
    exact = run.exact.get(name, {})
    coarse = list(run.coarse.get(name, {}).values())
    top = max(
        present.highest,
        facts.written.highest,
        facts.elsewhere.highest,
        total or 0,
        *(numbers.highest for numbers in exact.values()),
        *(each.last for each in coarse),
    )
    holes = IntervalSet(present.holes(1, top))
    labels = [(("diverted", "journal"), facts.elsewhere), *sorted(exact.items())]
    bare, covered = cover(holes, labels, coarse)
    unknown = IntervalSet()
    if not closed and not name.endswith("c"):
        if name.endswith("r"):
            start = min(facts.seen.highest - TAIL + 1, _undeclared_from(facts, run))
        else:
            start = facts.seen.highest - CALLS + 1
        unknown = bare.within(max(1, start), top).minus(facts.written)
    open_end = not closed and not (proven and name.endswith("g"))
    return StreamVerdict(
        name=name,
        records=len(facts.seen),
        highest=top,
        total=total,
        missing=bare.minus(unknown),
        unknown=unknown,
        unknown_after=top if open_end else None,
        held=held,
        covered=covered,
        duplicates=facts.repeats,
        after_close=len(facts.seen.within(total + 1, top)) if total is not None else 0,
    )


def _undeclared_from(facts: StreamFacts, run: RunFacts) -> int:
    """Return the number from which on drops of a killed *run* may be undeclared."""
    newest = max((second for each in run.streams.values() for second in each.began), default="")
    try:
        last = datetime.fromisoformat(newest) - timedelta(seconds=SECONDS)
    except (ValueError, OverflowError):
        return facts.seen.highest
    numbers = [n for second, n in facts.began.items() if second >= last.isoformat()]
    if not numbers:
        return facts.seen.highest
    # The hole in front of the first of them is in question, too.
    return facts.seen.within(1, min(numbers) - 1).highest + 1
