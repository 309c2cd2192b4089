"""
Kill a logging process ten thousand times, or fork one a thousand times; say what was lost.

    endure.py kill9 [CYCLES]
    endure.py forks [FORKS]

The rounds are those of tests/faults/; each begins in an empty directory. The exit
status is 1 when one record is lost or doubled, or one child hangs.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT))

from tests.faults import _rounds  # noqa: E402 - needs the path above.
from tests.faults.programs import World  # noqa: E402 - needs the path above.

# Bounds on one round, in seconds: ten times what a quiet machine takes.
KILLS_PER_ROUND: Final = 500
FORKS_PER_ROUND: Final = 100
PATIENCE: Final = 300.0


def _kill(world: World, size: int, turn: int) -> _rounds.Findings:
    return _rounds.kill(world, size, seed=turn, seconds=PATIENCE)


def _fork(world: World, size: int, turn: int) -> _rounds.Findings:
    return _rounds.fork(world, size, seconds=PATIENCE)


MODES: Final[dict[str, tuple[Callable[[World, int, int], _rounds.Findings], int, int]]] = {
    "kill9": (_kill, KILLS_PER_ROUND, 10_000),
    "forks": (_fork, FORKS_PER_ROUND, 1_000),
}


def main(arguments: list[str]) -> int:
    """Run the rounds of one mode; return the exit status."""
    if not arguments or arguments[0] not in MODES:
        print(__doc__)
        return 2
    run, size, usual = MODES[arguments[0]]
    left = int(arguments[1]) if len(arguments) > 1 else usual
    began = time.monotonic()
    found = None
    turn = 0
    while left:
        turn += 1
        directory = Path(tempfile.mkdtemp(prefix=f"hydra-{arguments[0]}-"))
        one = run(World(directory), min(size, left), turn)
        left -= min(size, left)
        found = one if found is None else found + one
        print(f"{time.monotonic() - began:6.0f} s  {found}", flush=True)
        if not one.flawless:
            print(f"failed: round {turn}; what it left is in {directory}")
            return 1
        shutil.rmtree(directory)
    print("passed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
