from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "latencies"], "nothing is called latencies; there are: throughput, latency"),
        (["--rounds", "-1"], "--rounds takes 1 or more"),
        (["--quick", "--publish"], "only a whole run is published"),
        (["--only", "start", "--publish"], "only a whole run is published"),
        (["--quick", "--long"], "not allowed with argument"),
    ],
)
def test_wrong_argument_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A wrong argument is refused before anything is installed or measured.
    """
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 2 == ended.value.code
    assert said in capsys.readouterr().err


def test_cases_of_the_hot_path_run() -> None:
    """
    Each case of `make bench-micro` runs once, so that none of them has gone stale.
    """
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks", "--benchmark-disable"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert 0 == ended.returncode, ended.stdout
    assert "passed" in ended.stdout
