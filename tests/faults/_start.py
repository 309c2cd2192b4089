"""
A start without threads: it takes over what the dead left, delivers it, and comes to its clean end.
"""

from __future__ import annotations

from fallbacks.system import SYSTEM, System
from hydra.config import load
from hydra.engine._build import build
from tests.faults.programs import World


def be_started(world: World, system: System = SYSTEM) -> None:
    """Be the next start of the service in *world*."""
    keywords = {
        "app": "shop",
        "state_dir": str(world.state),
        "destinations": [{"name": "app", "type": "file", "path": str(world.path)}],
    }
    settings = load(None, preset=None, file=None, keywords=keywords)
    run = build(settings, system=system, threaded=False)
    run.recovery.take_over()
    for service in run.services.values():
        service.chain.ticket.acquire()
        service._drain(service.chain.sync_tiers, patient=True)
        service.chain.ticket.release()
    run.begin_close()
    run.finish_close(0.0)
