"""
`hydra replay`: deliver what dead processes left.

Rule 1: lines go into the file first, then the file to the disk, then the segment
goes. An interruption in between costs a repetition and no record.
Rule 2: before lines are written the file is searched for their ids, so that a
repetition writes nothing twice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

import click

from fallbacks.batch import Batch
from fallbacks.outcomes import Delivered
from fallbacks.tiers import FileTier

from ..config import load
from ..core.exceptions import ConfigurationError
from ._dead_letters import dead_files, dead_sources, described, hold_again
from ._journal import shown_lines
from ._leftovers import Leftover, Place, leftovers
from ._sources import Left, Source, sources
from ._where import search
from .audit._command import destination_name
from .audit._sources import shown

HELP: Final = """\
Deliver what dead processes left in journal and held segments.

With --to, lines that wait in DIR and below go to the end of FILE as they are
(JSON lines), each once: FILE is searched for the ids first. Without DIR, the
places that the configuration in force names are looked at. With --config, the
engine is started with that configuration, which delivers to its destinations.

With --dead-letters it is the records that a destination refused for good, kept
aside, that are delivered once more; --list shows them and changes nothing. Those
that are refused again are kept aside again. A sink is given in Python, never in a
file: with --hold its records are held for it again, and the next start of the
application delivers them.

What was delivered is removed; segments of living processes, of other users and
of newer formats are left alone. A replay that was interrupted can be repeated.

\b
Exit status:
  0  nothing waits any more
  1  something still waits: left alone, or it could not be delivered
  2  wrong arguments, wrong configuration, or a directory that cannot be read

\b
Examples:
  hydra replay --config hydra.toml
  hydra replay --to logs/app.log logs/.hydra
  hydra replay --to rescued.log --destination app
  hydra replay --dead-letters --list
  hydra replay --dead-letters --to rescued.log
  hydra replay --dead-letters --hold
"""

CHUNK: Final = 32 * 1024 * 1024
"""Bytes of lines for which the file is searched at once."""

_BATCH: Final = 1000
_TAIL: Final = b',"id":"'


class Engine(Protocol):
    """What is needed of the package `hydra`."""

    def configure(self, *, file: str) -> object: ...
    def flush(self, timeout: float) -> object: ...
    def close(self, timeout: float) -> object: ...


@dataclass(slots=True)
class Summary:
    """What a replay came to."""

    delivered: int = 0
    known: int = 0
    segments: int = 0
    error: str = ""


def identify(line: bytes) -> bytes | None:
    """Return the id of a canonical line; None if it is none."""
    at = line.rfind(_TAIL)
    return line[at + len(_TAIL) : -3] if at >= 0 and line.endswith(b'"}\n') else None


def replay_into(path: str, found: Iterable[Source]) -> Summary:
    """
    Append the lines of *found* to the file at *path*, each id once, and end the sources.

    At the first failure the rest is released and `Summary.error` says what happened.
    """
    summary = Summary()
    tier = FileTier(path)
    try:
        for chunk in _chunks(found):
            try:
                _deliver(tier, chunk, summary)
            finally:
                for source in chunk:
                    source.release()
            if summary.error:
                break
    except OSError as error:
        summary.error = f"{error.filename or path}: {error.strerror or error}"
    finally:
        tier.close()
    return summary


def _chunks(found: Iterable[Source]) -> Iterator[list[Source]]:
    chunk: list[Source] = []
    size = 0
    try:
        for source in found:
            chunk.append(source)
            size += sum(map(len, source.lines))
            if size >= CHUNK:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk
    finally:
        # Ended early, also by an interruption: nobody else knows of these locks.
        for source in chunk:
            source.release()


def _deliver(tier: FileTier, chunk: list[Source], summary: Summary) -> None:
    lines = {identify(line) or line: line for source in chunk for line in source.lines}
    known = tier.scan(frozenset(lines), None, identify)
    fresh = [line for key, line in lines.items() if key not in known]
    summary.known += len(lines) - len(fresh)
    for at in range(0, len(fresh), _BATCH):
        batch = Batch(fresh[at : at + _BATCH])
        outcome = tier.write(batch)
        if not isinstance(outcome, Delivered) or outcome.prefix not in (None, len(batch)):
            error = getattr(outcome, "error", None)
            summary.error = f"{tier.path}: {error or 'not all lines were taken'}"
            return
        summary.delivered += len(batch)
    if lines:
        _sync(tier.path)
    for source in chunk:
        source.finish()
        summary.segments += 1


def _sync(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def replay_through(engine: Engine, config: str, timeout: float) -> None:
    """
    Start *engine* with the configuration file, wait for its replay, and close it.

    Raises:
        ConfigurationError: If the configuration is wrong.
    """
    engine.configure(file=config)
    try:
        engine.flush(timeout=timeout)
    finally:
        engine.close(timeout=timeout)


def _engine() -> Engine:
    return cast("Engine", import_module("hydra"))


@click.command(help=HELP)
@click.argument("directories", metavar="[DIR]...", nargs=-1, type=click.Path())
@click.option("--config", metavar="FILE", type=click.Path(), help="Deliver as this file says.")
@click.option("--to", "target", metavar="FILE", type=click.Path(), help="Deliver into this file.")
@click.option(
    "--destination",
    metavar="NAME",
    callback=destination_name,
    help="Only what is for this destination (with --to, --list, --hold).",
)
@click.option(
    "--dead-letters", "dead", is_flag=True, help="Deliver what was refused for good, once more."
)
@click.option("--list", "listing", is_flag=True, help="Show the dead letters, deliver nothing.")
@click.option(
    "--hold",
    "holding",
    is_flag=True,
    help="Hold the dead letters again, for the next start of their application.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long the engine may take (with --config).",
)
def replay(
    directories: tuple[str, ...],
    config: str | None,
    target: str | None,
    destination: str | None,
    dead: bool,
    listing: bool,
    holding: bool,
    timeout: float,
) -> None:
    """Deliver, say what came of it, and exit with the status."""
    if listing or holding:
        if not dead or target is not None or (listing and holding):
            name, other = ("--list", "--hold") if listing else ("--hold", "--list")
            raise click.UsageError(f"{name} goes with --dead-letters, without --to and {other}")
    elif (config is None) == (target is None):
        also = ", or --hold or --list" if dead else ""
        raise click.UsageError(f"give either --config FILE or --to FILE{also}")
    elif config is not None and (directories or destination):
        raise click.UsageError("DIR and --destination go with --to; a configuration names its own")
    try:
        where = search(directories, config, os.environ)
        if listing:
            status, found = _list(where.places, destination)
        elif holding:
            status, found = _hold_again(where.places, destination)
        elif target is not None:
            status, found = _to_file(target, where.places, destination, dead=dead)
        else:
            assert config is not None
            deliver = _dead_to_destinations if dead else _to_destinations
            status, found = deliver(config, where.places, timeout)
        if not found:
            click.echo(str(where), err=True)
    except ConfigurationError as error:
        click.echo(f"hydra replay: {shown_lines(str(error))}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"hydra replay: {shown(str(error.filename))}: {error.strerror}", err=True)
        sys.exit(2)
    sys.exit(status)


# Each of the following returns the exit status, and how much there was.


def _list(where: list[Place], destination: str | None) -> tuple[int, int]:
    count = 0
    for each in dead_files(where):
        if each.problem:
            click.echo(f"left alone: {shown(each.path)} ({each.problem})", err=True)
        for letter in each.contents.letters:
            if destination in (None, letter.destination):
                count += 1
                click.echo(described(letter))
    click.echo(_letters(count))
    return 0, count


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _hold_again(where: list[Place], destination: str | None) -> tuple[int, int]:
    left = Left()
    count = len(hold_again(where, left, destination=destination))
    click.echo(
        f"{_letters(count)} held again, for the next start of the application; "
        f"{left.count:,} files left alone"
    )
    return 1 if left.count else 0, count + left.count


def _to_file(
    target: str, where: list[Place], destination: str | None, *, dead: bool
) -> tuple[int, int]:
    left = Left()
    taken = (dead_sources if dead else sources)(where, destination, left)
    summary = replay_into(target, _told(taken))
    click.echo(
        f"{summary.delivered:,} lines delivered to {shown(target)}, {summary.known:,} were there "
        f"already, {left.count:,} {'files' if dead else 'segments'} left alone"
    )
    if summary.error:
        click.echo(f"hydra replay: {shown(summary.error)}", err=True)
    found = summary.delivered + summary.known + left.count + bool(summary.error)
    return 1 if summary.error or left.count else 0, found


def _told(found: Iterable[Source]) -> Iterator[Source]:
    for source in found:
        if sys.stderr.isatty():
            click.echo(f"taken over: {len(source.lines):,} lines", err=True)
        yield source


def _to_destinations(config: str, where: list[Place], timeout: float) -> tuple[int, int]:
    before = _waiting(leftovers(where))
    if sys.stderr.isatty():
        click.echo(f"{before:,} deliveries wait; starting the engine", err=True)
    replay_through(_engine(), config, timeout)
    # A directory in which nothing is left goes when the engine closes.
    after = _waiting(leftovers(place for place in where if os.path.exists(place.directory)))
    click.echo(f"{max(0, before - after):,} deliveries made, {after:,} still wait")
    return 1 if after else 0, before


def _dead_to_destinations(config: str, where: list[Place], timeout: float) -> tuple[int, int]:
    left = Left()
    held = hold_again(where, left, settings=load(file=config, environ=os.environ))
    status, found = _to_destinations(config, where, timeout)
    lines = {letter.line for letter in held}
    # As above: directories in which nothing is left have gone.
    there = [place for place in where if os.path.exists(place.directory)]
    again = {letter.line for each in dead_files(there) for letter in each.contents.letters}
    refused = len(lines & again)
    click.echo(
        f"of {len(held):,} dead letters {refused:,} were refused again, {left.count:,} files "
        "left alone"
    )
    return 1 if refused or left.count else status, found + left.count


def _waiting(found: Iterable[Leftover]) -> int:
    return sum(sum(each.waiting.values()) for each in found if not each.locked)
