"""
`hydra doctor`: is this environment one that Hydra can keep its promises in?
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import click

from fallbacks.pure import PURE

from ..config import Settings, load
from ..core.exceptions import ConfigurationError
from ..engine import COMPILED
from ._checks import (
    Finding,
    check_call_path,
    check_configuration,
    check_dependencies,
    check_files,
    check_installation,
    check_space,
    check_state,
    check_terminal,
    check_version,
    file_paths,
)
from ._dead_letters import dead_files
from ._leftovers import Place, leftovers
from ._live import directories, processes
from ._version import installed_version
from ._watch import watch
from ._where import existing, places_of
from .audit._sources import shown

HELP: Final = """\
Check the environment, and say what is wrong with it.

Looks at the versions, the packages installed, whether the call path is compiled,
the configuration in force (a file and the HYDRA_* variables), the state directory,
the files that destinations write, disk space, what dead processes left, what was
refused for good, the processes that publish their statistics, and the terminal.
The state directory is made if it is not there, as the application would make it.

With --watch it shows running processes instead, until Ctrl-C: what they take in, deliver and
drop per second, their queues, held records and tiers. They publish it when configured with
live_stats = true or HYDRA_LIVE_STATS=1.

\b
Exit status:
  0  nothing is wrong; with --watch: a process was seen
  1  something is wrong; with --watch: no process was seen

\b
Examples:
  hydra doctor
  hydra doctor --config hydra.toml
  hydra doctor --json | jq '.checks[] | select(.status == "wrong")'
  hydra doctor --watch --app shop
  hydra doctor --watch --json --count 1 | jq '.destinations[].held'
"""

# Seconds between two rounds of --watch, which is how often processes publish.
WATCH_EVERY: Final = 1.0

_MARKS: Final = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def examine(config: str | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield every finding, in the order in which they are best read."""
    yield from check_version(
        installed_version(), tuple(map(int, platform.python_version_tuple()[:2]))
    )
    yield from check_installation()
    yield from check_call_path(compiled=COMPILED, turned_off=PURE)
    yield from check_dependencies()
    settings, findings = check_configuration(config, environ)
    yield from findings
    if settings is not None:
        state, findings = check_state(settings, environ)
        yield from findings
        yield from check_files(settings)
        homes = [os.path.dirname(path) for path in file_paths(settings)]
        yield from check_space(settings, sorted({*homes, *([state] if state else [])}))
        places = existing(places_of(settings, environ))
        yield from check_leftovers(places)
        yield from check_dead_letters(places)
        yield from check_processes(settings, environ)
    yield from check_terminal(environ)


def check_leftovers(places: Iterable[Place]) -> Iterator[Finding]:
    """Say what dead processes left in *places*, and what is to be done about it."""
    try:
        found = leftovers(places)
    except OSError as error:
        yield Finding("leftovers", "wrong", shown(f"{error.filename}: {error.strerror}"))
        return
    dead = [each for each in found if not each.locked]
    waiting = sum(sum(each.waiting.values()) for each in dead)
    for each in found:
        if each.problem:
            yield Finding("leftovers", "note", f"{shown(each.path)}: {each.problem}")
    if waiting:
        yield Finding(
            "leftovers",
            "note",
            f"{waiting:,} deliveries wait in {len(dead):,} segments of dead processes; the next "
            "start of the application delivers them, or hydra replay does",
        )
    else:
        yield Finding("leftovers", "ok", "nothing waits for replay")


def check_dead_letters(places: Iterable[Place]) -> Iterator[Finding]:
    """Say how many records destinations refused for good, why the last one, and what to do."""
    try:
        found = dead_files(places)
    except OSError as error:
        yield Finding("dead letters", "wrong", shown(f"{error.filename}: {error.strerror}"))
        return
    for each in found:
        if each.problem:
            yield Finding("dead letters", "note", f"{shown(each.path)}: {each.problem}")
    full = [each for each in found if each.contents.letters]
    if not full:
        yield Finding("dead letters", "ok", "no record was refused for good")
    for each in full:
        letters = each.contents.letters
        newest = max(letters, key=lambda letter: letter.time)
        size = os.path.getsize(each.path) if os.path.exists(each.path) else 0
        yield Finding(
            "dead letters",
            "note",
            shown(
                f"{len(letters):,} in {each.path} ({size:,} bytes), the newest refused by "
                f"{newest.tier}: {newest.reason or 'no reason given'}; see hydra replay "
                "--dead-letters"
            ),
        )


def check_processes(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Say how the processes of the app are that publish their statistics."""
    places = directories(settings, settings.app, environ)
    found = processes(place for some in places.values() for place in some)
    if not found:
        yield Finding("processes", "ok", "none publishes statistics (live_stats)")
    for reading, alive in found:
        stats = reading.stats
        resting = [
            f"{destination.name}/{tier.name} {tier.state}"
            for destination in stats.destinations.values()
            for tier in destination.tiers
            if tier.state != "closed"
        ]
        said = (
            f"pid {reading.pid}: {stats.delivered:,} delivered, {stats.pending:,} pending, "
            f"{stats.held:,} held, {stats.dropped:,} dropped"
        )
        said += "".join(f", {each}" for each in resting)
        if not alive:
            said += "; it died without a close"
        quiet = alive and not resting and not stats.dropped
        yield Finding("processes", "ok" if quiet else "note", shown(said))


@click.command(help=HELP)
@click.option("--config", metavar="FILE", type=click.Path(), help="A configuration file to check.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the findings as one JSON object; with --watch, one per line and process.",
)
@click.option("--watch", "watching", is_flag=True, help="Show running processes, until Ctrl-C.")
@click.option("--app", metavar="NAME", help="With --watch: only processes of this app.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    help="With --watch: seconds between two rounds; 1 by default.",
)
@click.option(
    "--count",
    "rounds",
    metavar="N",
    type=click.IntRange(min=1),
    help="With --watch: end after N rounds.",
)
def doctor(
    config: str | None,
    as_json: bool,
    watching: bool,
    app: str | None,
    interval: float | None,
    rounds: int | None,
) -> None:
    """Print the findings, or what processes publish, and exit with the status of it."""
    if watching:
        try:
            settings = load(file=config, environ=os.environ)
        except ConfigurationError as error:
            raise click.ClickException(shown(str(error))) from error
        if app is None and (config is not None or "HYDRA_APP" in os.environ):
            app = settings.app
        wait = WATCH_EVERY if interval is None else interval
        sys.exit(
            watch(settings, app, interval=wait, rounds=rounds, as_json=as_json, environ=os.environ)
        )
    if not (app is None and interval is None and rounds is None):
        raise click.UsageError("--app, --interval and --count need --watch")
    findings = list(examine(config, os.environ))
    healthy = all(each.status != "wrong" for each in findings)
    if as_json:
        checks = [{"check": f.check, "status": f.status, "text": f.text} for f in findings]
        click.echo(json.dumps({"healthy": healthy, "checks": checks}, indent=2))
    else:
        width = max(len(each.check) for each in findings)
        for each in findings:
            click.echo(f"{_MARKS[each.status]}  {each.check.ljust(width)}  {each.text}")
        wrong = sum(each.status == "wrong" for each in findings)
        click.echo("nothing is wrong" if healthy else f"{wrong} wrong")
    sys.exit(0 if healthy else 1)
