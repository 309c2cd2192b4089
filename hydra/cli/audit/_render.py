"""
The report as text for people and as JSON for programs. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ._facts import FileFacts
from ._intervals import IntervalSet, spell
from ._verdict import Report, RunVerdict, StreamVerdict

MAX_ROWS: Final = 40
"""Complete runs that the table shows one by one; the others always are."""

MAX_RANGES: Final = 1000
"""Intervals that `--json` lists per stream; `missing` counts all."""

Json = dict[str, object]
_COLUMNS: Final = ("records", "missing", "dropped", "diverted", "held", "duplicates")


def as_json(report: Report) -> Json:
    """Return the report with the keys that `hydra audit --json` prints."""
    runs = report.runs
    return {
        "verdict": report.verdict,
        "records": sum(each.records for each in runs),
        "runs": len({each.run for each in runs}),
        "streams": len({(each.run, stream.name) for each in runs for stream in each.streams}),
        "duplicates": sum(each.duplicates for each in runs),
        "torn": report.torn,
        "missing": sum(each.missing for each in runs),
        "missing_guaranteed": report.missing_guaranteed,
        "declared_dropped": sum(each.declared("drops") for each in runs),
        "declared_diverted": sum(each.declared("diverted") for each in runs),
        "held": sum(each.held for each in runs),
        "unclean_runs": len({each.run for each in runs if not each.closed}),
        "notes": list(_notes(report)),
        "files": [_file(each) for each in report.files],
        "details": [_run(each) for each in runs],
    }


def _file(facts: FileFacts) -> Json:
    return {
        "path": facts.path,
        "kind": facts.kind,
        "destinations": sorted(facts.names),
        "lines": facts.entries,
        "torn": facts.torn,
        "foreign": facts.foreign,
    }


def _run(run: RunVerdict) -> Json:
    return {
        "run": run.run,
        "destination": run.destination or None,
        "verdict": run.word,
        "closed": run.closed,
        "since": run.since or None,
        "records": run.records,
        "missing": run.missing,
        "duplicates": run.duplicates,
        "held": run.held,
        "declared_dropped": run.declared("drops"),
        "declared_diverted": run.declared("diverted"),
        "streams": [_stream(each) for each in run.streams],
    }


def _stream(stream: StreamVerdict) -> Json:
    return {
        "stream": stream.name,
        "records": stream.records,
        "highest": stream.highest,
        "total": stream.total,
        "missing": len(stream.missing),
        "missing_ranges": _ranges(stream.missing),
        "unknown": len(stream.unknown),
        "unknown_ranges": _ranges(stream.unknown),
        "unknown_after": stream.unknown_after,
        "held": len(stream.held),
        "declared": [
            {"event": event, "reason": reason, "count": count}
            for (event, reason), count in sorted(stream.covered.items())
        ],
        "duplicates": stream.duplicates,
        "after_close": stream.after_close,
    }


def _ranges(numbers: IntervalSet) -> list[list[int]]:
    return [[first, last] for (first, last), _ in zip(numbers, range(MAX_RANGES), strict=False)]


def as_text(report: Report) -> Iterator[str]:
    """Yield the lines of the report for people; the last one is the verdict."""
    for group, runs in report.sections:
        logs = ", ".join(each.path for each in group.logs)
        along = f" with {_count(len(group.along), 'segment')}" if group.along else ""
        yield f"{group.name or 'destination not named'}: {logs}{along}"
        shown = _chosen(runs)
        yield from _table(shown)
        if len(shown) < len(runs):
            yield f"  and {_count(len(runs) - len(shown), 'more complete run')} (--json lists all)"
        yield ""
    for note in _notes(report):
        yield f"note: {note}"
    yield summary(report)


def _chosen(runs: tuple[RunVerdict, ...]) -> list[RunVerdict]:
    room = MAX_ROWS
    chosen = []
    for run in runs:
        plain = run.word == "complete" and not run.duplicates
        room -= plain
        if not plain or room >= 0:
            chosen.append(run)
    return chosen


def _table(runs: list[RunVerdict]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("run", "verdict", *_COLUMNS)]
    rows += [
        (
            run.run,
            run.word,
            *(
                f"{count:,}"
                for count in (
                    run.records,
                    run.missing,
                    run.declared("drops"),
                    run.declared("diverted"),
                    run.held,
                    run.duplicates,
                )
            ),
        )
        for run in runs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, row in enumerate(rows):
        yield "  " + "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        if i:
            for stream in runs[i - 1].streams:
                yield from (f"      {stream.name}: {text}" for text in _findings(stream))


def _findings(stream: StreamVerdict) -> Iterator[str]:
    if stream.missing:
        yield f"missing {spell(stream.missing)}"
    for (event, reason), count in sorted(stream.covered.items()):
        yield f"{count:,} declared {'dropped' if event == 'drops' else 'diverted'} ({reason})"
    if stream.held:
        yield f"held for replay {spell(stream.held)}"
    if stream.unknown:
        where = "in a call" if stream.name.endswith("g") else "in memory"
        yield f"unknown {spell(stream.unknown)} ({where} when the process died, or lost since)"
    if stream.unknown_after is not None and not stream.name.endswith("c"):
        hint = "; give the journal directory to prove it" if stream.name.endswith("g") else ""
        yield f"unknown after {stream.unknown_after:,}{hint}"
    if stream.after_close:
        yield f"{stream.after_close:,} logged after the close"


def _notes(report: Report) -> Iterator[str]:
    yield from report.notes
    for facts in report.files:
        if facts.torn:
            yield f"{facts.path}: {_count(facts.torn, 'damaged line')}"
        if facts.open_end:
            yield f"{facts.path}: a damaged line follows the last close record"
        if facts.foreign:
            yield f"{facts.path}: left out {_count(facts.foreign, 'JSON line')} without a record id"
        for damage in facts.damage:
            yield f"{facts.path}: {damage}"


def summary(report: Report) -> str:
    """Return the last line of the report, as in `verdict complete: 12 records, missing 0`."""
    counts = as_json(report)
    text = f"verdict {report.verdict}: {_count(_int(counts['records']), 'record')}, "
    text += f"missing {_int(counts['missing']):,}"
    if report.missing_guaranteed:
        text += f" ({report.missing_guaranteed:,} guaranteed)"
    for key, label in (
        ("declared_dropped", "declared dropped"),
        ("declared_diverted", "declared diverted"),
        ("held", "held"),
        ("duplicates", "duplicates"),
        ("torn", "torn"),
        ("unclean_runs", "unclean runs"),
    ):
        if counts[key]:
            text += f", {label} {_int(counts[key]):,}"
    return text


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
