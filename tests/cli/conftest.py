"""
Fixtures of the command line tests.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from hydra.cli import main


@pytest.fixture
def run_cli():
    """Return a function that runs `hydra` with arguments and gives the click result."""

    def run(*arguments, **more):
        return CliRunner().invoke(main, [str(each) for each in arguments], **more)

    return run


@pytest.fixture
def audit(run_cli):
    """Return a function that gives exit status and JSON report of an audit."""

    def run(*arguments):
        result = run_cli("audit", "--json", *arguments)
        assert result.exit_code in {0, 1}, result.output
        return result.exit_code, json.loads(result.stdout)

    return run
