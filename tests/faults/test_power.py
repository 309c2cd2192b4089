"""
Loss of power: what fdatasync vouched for must come back, wherever it was delivered to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fallbacks.testing import FakeClock, FaultyFilesystem
from hydra.config import DestinationSettings, JournalSettings, Settings
from hydra.core.ids import identify
from hydra.core.levels import ERROR, level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine._build import build

if TYPE_CHECKING:
    from fallbacks.system import System
    from hydra.engine import Run

pytestmark = pytest.mark.faults

LOG = "/logs/app.log"


def start(system: System) -> Run:
    """Return a run of one file destination with a journal, on *system*."""
    settings = Settings(
        app="shop",
        destinations=(DestinationSettings(name="app", type="file", path=LOG),),
        journal=JournalSettings(enabled=True, dir="/state/journal"),
        state_dir="/state",
    )
    return build(settings, system=system, clock=FakeClock(), threaded=False, probe=lambda *_: None)


def log(run: Run, number: int) -> bytes:
    """Log one ERROR and return its id."""
    # A CRITICAL waits for the keeper, which nobody runs in here: ERROR takes the same way.
    stream = run.route("shop", ERROR)
    assert stream is not None
    body = run.encoder.body(
        number, level_tag(ERROR), logger_tag("shop"), f"number {number}", EMPTY, EMPTY, {}
    )
    receipt = stream.send(body, ERROR)
    assert receipt.id is not None
    return receipt.id.encode()


def pump(run: Run) -> None:
    """Run every writer until there is nothing to do."""
    for service in run.services.values():
        service.pump()


def ids_in(disk: FaultyFilesystem) -> list[bytes | None]:
    """Return the ids in the log file, None for a torn line."""
    return list(map(identify, disk.read(LOG).splitlines(keepends=True)))


@pytest.mark.parametrize("seed", range(20))
def test_record_is_delivered_and_the_power_fails(seed: int) -> None:
    """A record that is on the journal's disk is in the file after the next start, once."""
    disk = FaultyFilesystem(seed=seed)
    run = start(disk.process(101))
    keys = [log(run, number) for number in range(1, 6)]
    run.keeper.tend()
    pump(run)
    disk.power_cut()
    again = start(disk.process(102))
    again.recovery.take_over()
    pump(again)

    assert sorted(keys) == sorted(key for key in ids_in(disk) if key is not None)


@pytest.mark.parametrize("seed", range(20))
def test_clean_close_and_the_power_fails(seed: int) -> None:
    """A clean close removes the journal only after the file itself is on the disk."""
    disk = FaultyFilesystem(seed=seed)
    run = start(disk.process(101))
    keys = [log(run, number) for number in range(1, 6)]
    pump(run)
    run.begin_close()
    run.finish_close(0.0)
    disk.power_cut()

    assert set(keys) <= set(ids_in(disk))


def test_file_refuses_to_be_forced() -> None:
    """While the file cannot be forced to the disk, the journal stays for the next start."""
    disk = FaultyFilesystem()
    run = start(disk.process(101))
    log(run, 1)
    pump(run)
    disk.fail("fdatasync", 5, times=None, path=LOG)
    run.begin_close()
    run.finish_close(0.0)

    assert [name for name in disk.files() if name.endswith(".j")]
