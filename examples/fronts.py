"""
Two fronts with layers of the same name: separate files, separate counts, separate ends.

    python examples/fronts.py [DIRECTORY]

Each tenant has a front of its own. The first one leaves while the second one goes
on; a layer that nobody configured falls to the default, and a warning says so.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import hydra


def front_of(tenant: str, directory: Path) -> hydra.AsyncHydraLogger:
    """Return a front that logs into the directory of *tenant*."""
    here = directory / tenant
    return hydra.AsyncHydraLogger(
        app="tenants-example",
        name=tenant,
        level="info",
        destinations=[{"name": "app", "type": "file", "path": str(here / "app.log")}],
        layers={
            "API": {"destinations": [{"name": "api", "path": str(here / "api.log")}]},
            "AUDIT": {"level": "debug", "destinations": ["app"]},
        },
    )


async def serve(front: hydra.AsyncHydraLogger, requests: int) -> None:
    """Log what a few requests would."""
    for number in range(requests):
        await front.info("API", "request %s", number, status=200)
        await front.debug("AUDIT", "rights checked", extra={"request": number})
    await front.info("that was all")


async def main(directory: Path) -> None:
    """Let one tenant leave while another stays."""
    red, blue = (front_of(tenant, directory) for tenant in ("red", "blue"))
    await asyncio.gather(serve(red, 3), serve(blue, 5))
    left = await red.close()
    print(f"red has left: {left.delivered} delivered, balanced: {left.balanced}")

    async with blue:
        await blue.error("API", "upstream is gone", upstream="stock")
        await blue.info("BILLING", "nobody has configured this layer")
        stats = await blue.flush()
    print(f"blue: {stats.delivered} delivered, balanced: {stats.balanced}")
    print(f"all: {sorted(hydra.stats().destinations)}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "logs")))
