"""
The `hydra` command itself: its verbs, its version, its help.
"""

from __future__ import annotations

from typing import Final

import click

from ._doctor import doctor
from ._journal import journal
from ._replay import replay
from ._version import version_line
from .audit import audit

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(version_line())
        ctx.exit()


HELP: Final = """\
Prove, repair and inspect what the Hydra logging engine wrote.

\b
Examples:
  hydra audit logs/app.log            # is every record there?
  hydra doctor                        # is this environment sound?
  hydra journal list                  # what did dead processes leave?
  hydra replay --config hydra.toml    # deliver it now

`hydra VERB --help` explains a verb, its examples and its exit status.
"""


@click.group(help=HELP, context_settings=CONTEXT)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Hold the verbs together."""


main.add_command(audit)
main.add_command(doctor)
main.add_command(journal)
main.add_command(replay)
