"""
Let libFuzzer find bytes for one target of `_untrusted`, guided by the branches they reach.

    python -m tests.faults._fuzz TARGET [libFuzzer's arguments]

Runs in the environment of `make fuzz`, the only place that has atheris.
"""

from __future__ import annotations

import sys

import atheris

# tomllib and yaml too: without them a configuration would rarely be more than an error of syntax.
with atheris.instrument_imports(include=["hydra", "fallbacks", "tomllib", "yaml"]):
    from tests.faults._untrusted import TARGETS


def run() -> None:
    """Fuzz until libFuzzer has enough, or a check fails; ends the process."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    run()
