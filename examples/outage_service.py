"""
The service of the outage demo: it logs under load until it is told to stop, or killed.

    python examples/outage_service.py DIRECTORY RUN

It logs as any asyncio service would. The rest of this file only makes a witness:
a small shared memory map that says which calls have returned, and that outlives
`kill -9`; and one line of statistics on standard output ten times a second.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Final

import hydra

WORKERS: Final = 4
PAUSE: Final = 0.02
"""Seconds between two orders of a worker."""

SLOTS: Final = 65_536
SLOT: Final = 48
_HEAD: Final = struct.Struct("<QQQ")


class Witness:
    """
    What calls have returned, in a shared map: it survives the death of the process.

    Args:
        path: Its file; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        size = _HEAD.size + SLOTS * SLOT
        with path.open("a+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self.ordinary, self.errors, self.unsafe = _HEAD.unpack_from(self._map)

    def ordinary_returned(self, count: int) -> None:
        """Note that *count* calls below ERROR have returned."""
        self.ordinary += count
        self._write()

    def error_returned(self, receipt: hydra.Receipt) -> None:
        """Note an ERROR whose call returned; its id when it is promised to survive a kill."""
        if receipt.durability in {None, hydra.Durability.QUEUED} or receipt.id is None:
            self.unsafe += 1
        elif self.errors < SLOTS:
            struct.pack_into(
                f"{SLOT}s", self._map, _HEAD.size + self.errors * SLOT, receipt.id.encode()
            )
            self.errors += 1
        self._write()

    def acknowledged(self) -> list[str]:
        """Return the ids of the ERRORs that were acknowledged."""
        return [
            self._map[start : start + SLOT].rstrip(b"\0").decode()
            for start in range(_HEAD.size, _HEAD.size + self.errors * SLOT, SLOT)
        ]

    def close(self) -> None:
        """Let go of the map; its file stays."""
        self._map.close()

    def _write(self) -> None:
        _HEAD.pack_into(self._map, 0, self.ordinary, self.errors, self.unsafe)


async def take_orders(log: hydra.Logger, witness: Witness, stopped: asyncio.Event) -> None:
    """Serve orders until *stopped*: three records below ERROR and two ERRORs for each."""
    number = 0
    while not stopped.is_set():
        number += 1
        order = log.bind(order_id=number)
        await order.info("order received", items=3)
        await order.info("stock reserved", warehouse="north")
        await order.warning("payment is slow", seconds=1.8)
        witness.ordinary_returned(3)
        for attempt in (1, 2):
            receipt = order.error("payment refused", attempt=attempt, code="card_declined")
            witness.error_returned(receipt)
            await receipt
        await asyncio.sleep(PAUSE)


async def report(stopped: asyncio.Event) -> None:
    """Print what the engine says of itself, one JSON object a line, until *stopped*."""
    while not stopped.is_set():
        stats = hydra.stats()
        app = stats.destinations["app"]
        facts = {
            "accepted": stats.accepted,
            "delivered": stats.delivered,
            "queued": app.queued,
            "held": stats.held,
            "dropped": stats.dropped,
            "tiers": {tier.name: tier.state for tier in app.tiers},
            "balanced": stats.balanced,
        }
        os.write(1, json.dumps(facts).encode() + b"\n")
        await asyncio.sleep(0.1)


async def serve(directory: Path, run: str) -> None:
    """Configure, serve until SIGTERM, close."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with hydra.running(
        app="outage-demo",
        state_dir=str(directory / "state"),
        destinations=[
            {
                "name": "app",
                "type": "file",
                "path": str(directory / "disk" / "app.log"),
                "timeout": 1.0,
                "fallback": [{"type": "file", "path": str(directory / "spare" / "app")}],
            }
        ],
    ):
        witness = Witness(directory / f"witness-{run}")
        async with asyncio.TaskGroup() as tasks:
            for worker in range(WORKERS):
                log = hydra.get_logger("shop.orders", worker=worker)
                tasks.create_task(take_orders(log, witness, stopped))
            tasks.create_task(report(stopped))
        witness.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
