"""
Be told of trouble: a destination fails over and recovers, and hooks say so.

    python examples/hooks.py [DIRECTORY]
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import hydra

PATIENCE = 20.0


def main(directory: Path) -> int:
    """Take the log's directory away and bring it back; return the exit status."""
    told = threading.Semaphore(0)

    def on_failover(event: hydra.FailoverEvent) -> None:
        print(f"failover: {event.destination} from {event.from_tier} to {event.to_tier}")
        told.release()

    def on_recovery(event: hydra.RecoveryEvent) -> None:
        print(f"recovery: {event.destination} by {event.tier}")
        told.release()

    disk = directory / "disk"
    hydra.configure(
        app="hooks",
        destinations=[
            {"name": "app", "type": "file", "path": disk / "app.log", "writer": "thread"}
        ],
        hooks={"on_failover": on_failover, "on_recovery": on_recovery},
    )
    log = hydra.get_logger("shop")
    log.info("before")
    hydra.flush()

    # A file where the directory should be: the log cannot be opened any more.
    disk.rename(directory / "away")
    disk.touch()
    log.info("during")
    hydra.flush()
    told.acquire(timeout=PATIENCE)

    disk.unlink()
    (directory / "away").rename(disk)
    log.info("after")
    while hydra.flush().held:
        """What is held is on its way."""
    told.acquire(timeout=PATIENCE)

    stats = hydra.close()
    print(f"hooks called: {stats.hooks.calls}, failed: {stats.hooks.failed}")
    return 0 if stats.balanced else 1


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "logs")
    place.mkdir(parents=True, exist_ok=True)
    raise SystemExit(main(place))
