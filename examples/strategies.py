"""
What each strategy does while one of two copies is down, and after it is back.

    python examples/strategies.py

Two sinks stand for two receivers. The second one refuses everything for a while;
a file in the state directory keeps what has to wait. Exit status 1 says that a
record was lost or doubled, or that the ledger does not balance.
"""

from __future__ import annotations

import tempfile
from time import monotonic, sleep
from typing import Final

import hydra

STRATEGIES: Final = ("failover", "mirror", "spool", "fastest", "quorum")
PATIENCE: Final = 15.0


class Receiver:
    """A sink that can be down."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.down = False

    def write(self, lines: list[bytes]) -> None:
        """Take lines, or raise while it is down."""
        if self.down:
            raise ConnectionError("the receiver is down")
        self.lines += lines

    @property
    def records(self) -> list[bytes]:
        """The records it has, without what the engine says itself."""
        return [line for line in self.lines if b'"logger":"shop"' in line]


def show(strategy: str, state: str) -> bool:
    """Log through an outage of the second receiver; return whether all went well."""
    one, two = Receiver(), Receiver()
    hydra.configure(
        app="strategies",
        state_dir=state,
        destinations=[
            hydra.Destination(
                one.write,
                name="orders",
                strategy=strategy,
                retries=0,
                fallback=[{"sink": two.write}, {"type": "file"}],
            )
        ],
    )
    log = hydra.get_logger("shop")
    log.info("before")
    hydra.flush()
    two.down = True
    receipt = log.error("during")
    fate = receipt.wait(5.0).fates["orders"]
    hydra.flush()
    found = hydra.stats().destinations["orders"]
    print(
        f"{strategy:8}  down: {fate.state.value} by {fate.tier}, "
        f"waiting for a copy {found.repairing}, held {found.held}"
    )
    two.down = False
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        stats = hydra.flush()
        found = stats.destinations["orders"]
        if not (found.held or found.repairing):
            break
        sleep(0.01)
    stats = hydra.close()
    print(f"{'':8}  back: first copy {len(one.records)}, second copy {len(two.records)}")
    every = {*one.records, *two.records}
    doubled = len(set(one.records)) < len(one.records) or len(set(two.records)) < len(two.records)
    both = len(one.records) == len(two.records) == 2
    spread = both or strategy not in {"mirror", "quorum"}
    return stats.balanced and len(every) == 2 and not doubled and spread


def main() -> int:
    """Show each strategy; return the exit status."""
    with tempfile.TemporaryDirectory() as state:
        return 0 if all(show(strategy, state) for strategy in STRATEGIES) else 1


if __name__ == "__main__":
    raise SystemExit(main())
