"""
The command line of the audit: arguments in, report and exit status out.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

import click

from ._audit import EXIT_INCOMPLETE, EXIT_UNUSABLE, audit_files
from ._lines import name_of
from ._render import as_json, as_text
from ._sources import UnusableError
from ._verdict import Report

PROGRESS_FROM: Final = 64 * 1024 * 1024
"""Bytes of input from which a terminal is shown a progress bar."""


HELP: Final = """\
Prove that log files are complete, or say what is missing.

FILE is a log in JSON lines, plain or compressed (.gz, .bz2, .xz), a journal
segment (.j), a held segment (.held), or a directory, which stands for the
segments in and below it. Give rotated files together with the current one,
and the journal directory to prove what a killed process had guaranteed.

Every run gets a verdict:

\b
  complete    closed, and every number accounted for
  unclean     no close record: nothing is missing, the end is not known
  incomplete  something is missing that nothing accounts for

\b
Exit status:
  0  complete or unclean
  1  incomplete (with --strict also unclean)
  2  unusable input: no such file, not a log, no record

\b
Examples:
  hydra audit logs/app.log
  hydra audit logs/app.log*                 # with its rotated siblings
  hydra audit logs/app.log logs/.hydra      # after a crash, with the journal
  hydra audit --json logs/app.log | jq .missing
"""


class _Bar(Protocol):
    def update(self, n_steps: int) -> None: ...


def destination_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return *value* when it can be the name of a destination; refuse it otherwise."""
    if value is not None and name_of(value) is None:
        raise click.BadParameter("a destination name has letters, digits, '_', '.' and '-' only")
    return value


@click.command(help=HELP)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json_", is_flag=True, help="Print the report as one JSON object.")
@click.option("--strict", is_flag=True, help="Exit with 1 for unclean runs too.")
@click.option(
    "--destination",
    metavar="NAME",
    callback=destination_name,
    help="The destination of log files that hold no control record and so do not name it.",
)
def audit(files: tuple[str, ...], as_json_: bool, strict: bool, destination: str | None) -> None:
    """Print the report on *files* and exit with its status."""
    try:
        with _progress(files) as bar:
            report = audit_files(
                files, destination=destination, progress=bar.update if bar else lambda _: None
            )
    except UnusableError as error:
        click.echo(f"hydra audit: {error}", err=True)
        sys.exit(EXIT_UNUSABLE)
    if as_json_:
        click.echo(json.dumps(as_json(report), indent=2))
    else:
        click.echo("\n".join(as_text(report)))
    sys.exit(_status(report, strict=strict))


def _status(report: Report, *, strict: bool) -> int:
    if report.verdict == "incomplete" or (strict and report.verdict == "unclean"):
        return EXIT_INCOMPLETE
    return 0


def _progress(files: tuple[str, ...]) -> AbstractContextManager[_Bar | None]:
    size = sum(os.path.getsize(path) for path in files if os.path.isfile(path))
    if size < PROGRESS_FROM or not _is_terminal():
        return nullcontext()
    return click.progressbar(length=size, label="reading", file=sys.stderr)


def _is_terminal() -> bool:
    return sys.stderr.isatty()
