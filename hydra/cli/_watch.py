"""
`hydra doctor --watch`: the statistics of running processes, round after round.

Rule 1: on a terminal the picture is drawn in place, on a screen of its own, which is
left however the command ends; elsewhere each round adds lines.
Rule 2: what is drawn is a pure function of what was read.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count as numbers
from typing import Final

import click
import msgspec

from ..config import Settings
from ..metrics import DestinationStats, TierStats
from ._live import History, Rates, Shown, directories, processes
from .audit._sources import shown as safe

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST: Final = "\x1b[J"
_LINE_END: Final = "\x1b[K\n"

_HEADS: Final = (
    "destination", "in/s", "out/s", "dropped/s", "dropped", "queued", "held", "pending", "balanced",
)  # fmt: skip
_TIER_HEADS: Final = (
    "tier", "state", "out/s", "failing", "failed", "p50", "p99", "score", "opened", "last change",
)  # fmt: skip
# In place of rates, before there are any.
_UNKNOWN: Final = (None, None, None)


def watch(
    settings: Settings,
    app: str | None,
    *,
    interval: float,
    rounds: int | None,
    as_json: bool,
    environ: Mapping[str, str],
    pause: Callable[[float], object] = time.sleep,
) -> int:
    """
    Show what processes publish, every *interval* seconds, *rounds* times; None: until Ctrl-C.

    Returns:
        The exit status: 0 when a process was seen, 1 when none ever was.
    """
    places = directories(settings, app, environ)
    seen = False
    frames = _frames(places, interval, rounds, pause)
    if not as_json and sys.stdout.isatty() and environ.get("TERM") != "dumb":
        return _in_place(frames, places)
    try:
        for moment, found in frames:
            seen = seen or bool(found)
            for each in found:
                lines = [as_object(each, moment)] if as_json else one_line_each(each, moment)
                for line in lines:
                    click.echo(line)
            if not found:
                click.echo(nothing(places), err=True)
            sys.stdout.flush()
    except KeyboardInterrupt:
        """The way to end it."""
    return 0 if seen else 1


def _frames(
    places: Mapping[str, Sequence[str]],
    interval: float,
    rounds: int | None,
    pause: Callable[[float], object],
) -> Iterator[tuple[int, list[Shown]]]:
    history = History()
    for number in numbers(1):
        now = time.time_ns()
        found = processes(place for some in places.values() for place in some)
        yield now, history.look(found, now)
        if number == rounds:
            return
        pause(interval)


def _in_place(
    frames: Iterator[tuple[int, list[Shown]]], places: Mapping[str, Sequence[str]]
) -> int:
    lines: list[str] = []
    seen = False
    sys.stdout.write(_ENTER)
    try:
        for moment, found in frames:
            seen = seen or bool(found)
            lines = picture(found, moment) if found else [nothing(places)]
            size = shutil.get_terminal_size()
            fitting = [line[: size.columns] for line in lines[: max(1, size.lines - 1)]]
            sys.stdout.write(_HOME + "".join(line + _LINE_END for line in fitting) + _REST)
            sys.stdout.flush()
    except KeyboardInterrupt:
        """The way to end it."""
    finally:
        # The last picture stays to be read on the screen that was there before.
        sys.stdout.write(_LEAVE + "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    return 0 if seen else 1


def nothing(places: Mapping[str, Sequence[str]]) -> str:
    """Say that nobody publishes anything, and what to do about it."""
    where = ", ".join(places) or "no place"
    return safe(
        f"no process publishes statistics in {where}; applications do with live_stats = true "
        "or HYDRA_LIVE_STATS=1"
    )


# -- pictures


def picture(found: Sequence[Shown], moment: int) -> list[str]:
    """Return the lines that show *found*."""
    lines = [_time(moment)]
    for each in found:
        lines += ["", _head(each)]
        stats = each.process.reading.stats
        rows = [_row(d, each) for d in stats.destinations.values()]
        lines += _table(_HEADS, rows)
        for destination in stats.destinations.values():
            per_second = each.rates.get(destination.name)
            tiers = [_tier(t, n, per_second) for n, t in enumerate(destination.tiers)]
            heads = (f"tiers of {safe(destination.name)}", *_TIER_HEADS[1:])
            lines += ["", *_table(heads, tiers)]
            lines += [
                f"  {safe(t.name)}: {safe(t.last_error)}" for t in destination.tiers if t.last_error
            ]
        if stats.drops:
            why = ", ".join(f"{n:,} {level} {r}" for (level, r), n in sorted(stats.drops.items()))
            lines += ["", f"dropped: {safe(why)}"]
    return lines


def _head(each: Shown) -> str:
    reading, journal = each.process.reading, each.process.reading.stats.journal
    up = (reading.time - reading.began) / 1e9
    said = f"{reading.app}  pid {reading.pid}  run {reading.run}  {each.state}"
    if each.state != "live":
        said += f", last heard of {_seconds(each.age)} ago"
    said += f"  up {_seconds(up)}  journal {journal.state}"
    if journal.state == "on":
        said += f" ({journal.live:,} live, {journal.failed:,} failed)"
    return safe(said)


def _row(destination: DestinationStats, each: Shown) -> tuple[str, ...]:
    speeds = each.rates.get(destination.name) or _UNKNOWN
    return (
        safe(destination.name),
        *map(_rate, speeds[:3]),
        f"{destination.dropped:,}",
        f"{destination.queued:,}",
        f"{destination.held:,}",
        f"{destination.pending:,}",
        balanced(destination, each),
    )


def balanced(destination: DestinationStats, each: Shown) -> str:
    """Return `yes`, `no` with the difference, or `under way` when one reading cannot tell."""
    if destination.name in each.unbalanced:
        return f"no ({destination.lost:+,})"
    return "yes" if destination.lost == 0 else "under way"


def _tier(tier: TierStats, number: int, per_second: Rates | None) -> tuple[str, ...]:
    rate = None
    if per_second is not None and number < len(per_second.tiers):
        rate = per_second.tiers[number]
    change = ""
    if tier.changes:
        moment, state = tier.changes[-1]
        change = f"{state} {_time(moment)}"
    return (
        safe(tier.name),
        tier.state,
        _rate(rate),
        f"{tier.failure_rate:.0%}",
        f"{tier.failed:,}/{tier.attempts:,}",
        _latency(tier.p50),
        _latency(tier.p99),
        _latency(tier.score if tier.attempts else None),
        f"{tier.opened:,}",
        change,
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    every = [heads, *rows]
    widths = [max(len(row[at]) for row in every) for at in range(len(heads))]
    return [
        "  ".join(
            text.ljust(width) if at == 0 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    ]


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _latency(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    # Three digits of what is just below a second would make four of the ms.
    return f"{value * 1e3:.3g} ms" if value < 0.9995 else f"{value:,.3g} s"


def _seconds(value: float) -> str:
    whole = int(value)
    hours, rest = divmod(whole, 3600)
    if hours:
        return f"{hours} h {rest // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _time(moment: int) -> str:
    try:
        found = datetime.fromtimestamp(moment // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return "at no time"  # The file says so; it may be damaged.
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")


# -- lines


def one_line_each(each: Shown, moment: int) -> list[str]:
    """Return one line for each destination of *each*."""
    reading = each.process.reading
    lines = []
    for found in reading.stats.destinations.values():
        speeds = each.rates.get(found.name) or _UNKNOWN
        tiers = ",".join(f"{tier.name}:{tier.state}" for tier in found.tiers)
        facts = {
            "in/s": _rate(speeds[0]),
            "out/s": _rate(speeds[1]),
            "dropped/s": _rate(speeds[2]),
            "dropped": found.dropped,
            "queued": found.queued,
            "held": found.held,
            "pending": found.pending,
            "balanced": balanced(found, each).replace(" ", "_"),
            "tiers": tiers,
        }
        said = " ".join(f"{key}={value}" for key, value in facts.items())
        head = f"{_time(moment)} {reading.app}[{reading.pid}] {each.state} {found.name}"
        lines.append(safe(f"{head} {said}"))
    return lines


def as_object(each: Shown, moment: int) -> str:
    """Return *each* as one line of JSON."""
    reading = each.process.reading
    stats = reading.stats
    destinations = []
    for found in stats.destinations.values():
        per_second = each.rates.get(found.name)
        facts: dict[str, object] = msgspec.to_builtins(found)
        for tier in facts["tiers"]:  # type: ignore[attr-defined]
            # JSON has no infinity: the last bound is null.
            tier["latency"] = [
                [None if bound == float("inf") else bound, number]
                for bound, number in tier["latency"]
            ]
        facts["balanced"] = found.name not in each.unbalanced
        facts["accepted_per_second"] = per_second and per_second.accepted
        facts["delivered_per_second"] = per_second and per_second.delivered
        facts["dropped_per_second"] = per_second and per_second.dropped
        destinations.append(facts)
    return json.dumps(
        {
            "time": _time(moment),
            "app": reading.app,
            "pid": reading.pid,
            "run": reading.run,
            "state": each.state,
            "age": each.age,
            "balanced": not each.unbalanced,
            "destinations": destinations,
            "drops": [
                {"level": level, "reason": reason, "count": number}
                for (level, reason), number in sorted(stats.drops.items())
            ],
            "journal": msgspec.to_builtins(stats.journal),
            "hooks": msgspec.to_builtins(stats.hooks),
        }
    )
