"""
`hydra journal`: list what dead processes left, and throw it away.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import Final

import click

from ..core.exceptions import ConfigurationError
from ._leftovers import Leftover, leftovers, locked
from ._where import search
from .audit._sources import shown

GROUP_HELP: Final = """\
Look at the journal and held segments that processes left behind.

A segment that a living process has locked is listed and never touched.

\b
Examples:
  hydra journal list
  hydra journal list logs/.hydra --json
  hydra journal purge --older-than 7d
"""

LIST_HELP: Final = """\
List the segments in DIR and below: what is in them and what still waits for delivery.

Without DIR, the places that the configuration in force names are looked at.

\b
Exit status:
  0  listed (also when there is none)
  2  a directory cannot be read, or the configuration is wrong

\b
Examples:
  hydra journal list
  hydra journal list logs/.hydra
  hydra journal list --config hydra.toml --json
"""

PURGE_HELP: Final = """\
Delete the segments in DIR and below. Records that still wait in them are lost.

Asks first, unless --yes is given. Segments of living processes, of other users
and of newer formats are left alone. `hydra replay` delivers instead of deleting.

\b
Exit status:
  0  deleted, or there was nothing to delete
  1  not confirmed, or something was left alone or could not be deleted
  2  a directory cannot be read, or the configuration is wrong

\b
Examples:
  hydra journal purge --older-than 7d
  hydra journal purge logs/.hydra --yes
"""

_AGE = re.compile(r"(\d{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def age(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that *value* stands for, a time span as in 90s, 15m, 6h or 7d."""
    if value is None:
        return None
    match = _AGE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no time span; write 90s, 15m, 6h or 7d")
    return float(int(match[1]) * _SECONDS[match[2]])


def collect(directories: tuple[str, ...], config: str | None) -> list[Leftover]:
    """
    Return the segments in *directories*, or where the configuration says; exit with 2 if not.

    When there are none, it is said where they were looked for.
    """
    try:
        where = search(directories, config, os.environ)
        found = leftovers(where.places)
        if not found:
            click.echo(str(where), err=True)
        return found
    except ConfigurationError as error:
        click.echo(f"hydra: {shown_lines(str(error))}", err=True)
    except OSError as error:
        click.echo(f"hydra: {shown(str(error.filename))}: {error.strerror}", err=True)
    sys.exit(2)


def shown_lines(text: str) -> str:
    """Return *text* with everything replaced that could act on a terminal, lines kept."""
    return "\n".join(map(shown, text.split("\n")))


def state_of(each: Leftover) -> str:
    """Return one word or a reason: in use, left behind, or why it is left alone."""
    if each.problem:
        return each.problem
    return "in use" if each.locked else "left behind"


def _waiting(each: Leftover) -> str:
    parts = [f"{name or 'unnamed'} {count:,}" for name, count in sorted(each.waiting.items())]
    return ", ".join(parts) or "nothing"


@click.group(help=GROUP_HELP)
def journal() -> None:
    """Hold the verbs together."""


@journal.command("list", help=LIST_HELP)
@click.argument("directories", metavar="[DIR]...", nargs=-1, type=click.Path())
@click.option("--config", metavar="FILE", type=click.Path(), help="Whose directories to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print the segments as one JSON array.")
def list_segments(directories: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Print what is there."""
    found = collect(directories, config)
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "path": each.path,
                        "kind": each.kind,
                        "app": each.app,
                        "run": each.run,
                        "pid": each.pid,
                        "records": each.records,
                        "waiting": each.waiting,
                        "bytes": each.size,
                        "locked": each.locked,
                        "problem": each.problem or None,
                    }
                    for each in found
                ],
                indent=2,
            )
        )
        return
    for each in found:
        click.echo(shown(each.path))
        click.echo(
            f"  {each.kind} of {shown(each.app) or '?'}, run {each.run or '?'}"
            f"{f', process {each.pid}' if each.pid is not None else ''}, {state_of(each)}"
        )
        click.echo(f"  {each.records:,} records, {each.size:,} bytes, waiting: {_waiting(each)}")
    click.echo(f"{len(found):,} segment{'' if len(found) == 1 else 's'}")


@journal.command("purge", help=PURGE_HELP)
@click.argument("directories", metavar="[DIR]...", nargs=-1, type=click.Path())
@click.option("--config", metavar="FILE", type=click.Path(), help="Whose directories to look at.")
@click.option(
    "--older-than", callback=age, metavar="AGE", help="Only segments not written for AGE."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(
    directories: tuple[str, ...], config: str | None, older_than: float | None, yes: bool
) -> None:
    """Delete what nobody has locked."""
    found = collect(directories, config)
    if older_than is not None:
        limit = time.time() - older_than
        found = [each for each in found if each.modified <= limit]
    targets = [each for each in found if not each.locked and not each.problem]
    kept = [each for each in found if each not in targets]
    for each in kept:
        click.echo(f"left alone: {shown(each.path)} ({state_of(each)})", err=True)
    if targets and not yes:
        waiting = sum(sum(each.waiting.values()) for each in targets)
        click.confirm(
            f"Delete {len(targets)} segments with {waiting:,} deliveries that wait?", abort=True
        )
    deleted = sum(_delete(each.path) for each in targets)
    click.echo(f"{deleted:,} deleted, {len(found) - deleted:,} left alone")
    sys.exit(0 if deleted == len(found) else 1)


def _delete(path: str) -> bool:
    try:
        # An application may have adopted it between the listing and the answer.
        with locked(path) as mine:
            if mine:
                os.unlink(path)
            else:
                click.echo(f"left alone: {shown(path)} (in use)", err=True)
            return mine
    except OSError as error:
        click.echo(f"left alone: {shown(path)} ({error.strerror})", err=True)
        return False
