"""
Every system call of the engine fails, or is the last one of its process.

Rule 1: a step of a session is run on a healthy disk, to be counted, and then once
for every call in it: struck once, struck for ever, killed there.
Rule 2: what is judged is the log after the next start: each record that the kernel
had is in it once, and nothing is left of journals, held segments and descriptors.
Rule 3: the suite takes every few calls, another few for each step; HYDRA_EVERY_SYSCALL=1
takes every one.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable

import pytest

from fallbacks.testing import FakeClock, FaultyFilesystem, FaultyProcess, Killed
from hydra.config import DestinationSettings, JournalSettings, Settings
from hydra.core.ids import identify
from hydra.core.levels import ERROR, INFO, level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine import Run
from hydra.engine._build import build
from hydra.engine._reading import read

pytestmark = pytest.mark.faults

LOG = "/logs/app.log"
SEGMENT = 2_000
STRIDE = 1 if os.environ.get("HYDRA_EVERY_SYSCALL") else 7


class Life:
    """One process on the disk: a run that is pumped by hand, and what it was promised."""

    def __init__(self, disk: FaultyFilesystem, pid: int, promised: set[bytes]) -> None:
        self.disk = disk
        self.clock = FakeClock()
        self.process: FaultyProcess = disk.process(pid)
        self.promised = promised
        self.ordinary: set[bytes] = set()
        settings = Settings(
            app="shop",
            destinations=(DestinationSettings(name="app", type="file", path=LOG, batch=4),),
            journal=JournalSettings(
                enabled=True, dir="/state/journal", segment=SEGMENT, quota=20 * SEGMENT
            ),
            state_dir="/state",
        )
        self.run: Run = build(
            settings,
            system=self.process,
            clock=self.clock,
            threaded=False,
            probe=lambda *_: None,
        )

    def log(self, count: int, level: int = ERROR) -> None:
        """Log *count* records; those that the kernel has are promised."""
        stream = self.run.route("shop", level)
        for n in range(count):
            body = self.run.encoder.body(
                n + 1, level_tag(level), logger_tag("shop"), f"number {n}", EMPTY, EMPTY, {}
            )
            receipt = stream.send(body, level, tracked=True)
            key = receipt.id.encode()
            if level < ERROR:
                self.ordinary.add(key)
            elif receipt.durability.value in {"K", "D"}:
                self.promised.add(key)

    def pump(self) -> None:
        """Run the writer until there is nothing to do."""
        for service in self.run.services.values():
            service.pump()
        self.outlive()

    def outlive(self) -> None:
        """Be dead if the process is: a tier may raise whatever it likes, its death as well."""
        if self.process._dead:
            raise Killed

    def tend(self) -> None:
        """Do what the keeper's thread does, which nothing that is raised may end."""
        self.run.keeper.tend()

    def rest(self) -> None:
        """Let time pass, so that tiers that rest are tried again."""
        for _ in range(3):
            self.clock.advance(60.0)
            self.pump()

    def close(self) -> None:
        """Close as the application does."""
        self.run.begin_close()
        self.pump()
        self.run.finish_close(0.0)
        self.outlive()

    def take_over(self) -> None:
        """Take over what the dead left, as a start does, on this thread."""
        self.run.recovery.take_over()


# What happens before the step, and the step.
Step = tuple[Callable[[Life], object], Callable[[Life], object]]


def nothing(life: Life) -> None:
    """Do nothing."""


def outage(life: Life) -> None:
    """Log while the file cannot be written: everything is held."""
    life.disk.fail("write", errno.ENOSPC, times=None, path=LOG)
    life.log(6)
    life.log(3, INFO)
    life.pump()
    assert read([life.run]).held
    life.disk.heal()


def first_write(life: Life) -> None:
    """Log the first records and write them."""
    life.log(2, INFO)
    life.log(2)
    life.pump()


def new_segment(life: Life) -> None:
    """Log until the journal has begun a third segment, and look after it."""
    for _ in range(3):
        life.log(6)
        life.tend()


def acknowledged(life: Life) -> None:
    """Deliver what is queued, have it acknowledged, and remove what is settled."""
    life.pump()
    life.tend()


def held_segment(life: Life) -> None:
    """Log while the file cannot be written, whatever else fails."""
    life.disk.fail("write", errno.ENOSPC, times=None, path=LOG)
    life.log(6)
    life.log(3, INFO)
    life.pump()


STEPS: dict[str, Step] = {
    "first write": (nothing, first_write),
    "new journal segment": (first_write, new_segment),
    "acknowledgement": (new_segment, acknowledged),
    "held segment": (first_write, held_segment),
    "replay": (outage, Life.rest),
    "close": (first_write, Life.close),
    "close of an outage": (outage, Life.close),
}


def calls_of(step: Step) -> int:
    """Return how many system calls a healthy step takes."""
    life = Life(FaultyFilesystem(), 101, set())
    before, act = step
    before(life)
    done = life.process.done
    act(life)
    assert life.process.done > done
    return life.process.done - done


def sample(calls: int, name: str) -> range:
    """Return the calls to strike: every one, or every few, from another one for each step."""
    return range(1 + len(name) % STRIDE, calls + 1, STRIDE)


def keys_in(disk: FaultyFilesystem) -> Counter[bytes]:
    """Return how often each id is in the log."""
    try:
        lines = disk.read(LOG).splitlines(keepends=True)
    except FileNotFoundError:
        return Counter()
    return Counter(key for line in lines if (key := identify(line)))


def start_again(disk: FaultyFilesystem, pid: int, promised: set[bytes]) -> Life:
    """Be the next start: take over, deliver, close; whatever was promised is there once."""
    heir = Life(disk, pid, promised)
    heir.take_over()
    heir.log(1)
    heir.rest()
    assert read([heir.run]).balanced
    heir.close()
    found = keys_in(disk)

    assert set() == promised - found.keys()
    assert [] == [key for key, times in found.items() if times > 1]
    assert [LOG] == disk.files()
    assert 0 == disk.descriptors()
    return heir


@pytest.mark.parametrize("times", [1, None], ids=["once", "for ever"])
@pytest.mark.parametrize("name", STEPS)
def test_every_call_fails(name: str, times: int | None) -> None:
    """
    Whatever call of a step fails, once or until the disk is mended: nothing is raised, the ledger
    balances, and each record is in the log once or counted as dropped.
    """
    before, act = STEPS[name]
    for n in sample(calls_of(STEPS[name]), name):
        disk = FaultyFilesystem()
        life = Life(disk, 101, set())
        before(life)
        disk.fail("*", errno.EIO, when=n, times=times)
        act(life)
        disk.heal()
        life.rest()
        life.tend()
        stats = read([life.run])
        life.close()
        life.process.die()
        start_again(disk, 102, life.promised)
        missing = life.ordinary - keys_in(disk).keys()

        assert stats.balanced, n
        assert len(missing) <= read([life.run]).dropped, n


@pytest.mark.parametrize("torn", [0, 30])
@pytest.mark.parametrize("name", STEPS)
def test_killed_at_every_call(name: str, torn: int) -> None:
    """Killed at any call of a step, in the middle of a write too: the next start has it all."""
    before, act = STEPS[name]
    for n in sample(calls_of(STEPS[name]), name):
        disk = FaultyFilesystem()
        life = Life(disk, 101, set())
        before(life)
        life.process.kill_at(n, torn=torn)
        with pytest.raises(Killed):
            act(life)
        disk.heal()
        start_again(disk, 102, life.promised)


def left_by_an_outage(disk: FaultyFilesystem) -> set[bytes]:
    """Have a process die that holds records and has others in its journal; return the promised."""
    life = Life(disk, 101, set())
    outage(life)
    life.log(5)
    life.process.die()
    return life.promised


def test_replay_interrupted_at_every_call() -> None:
    """A start that is killed at any call of its replay, and the next one too: nothing is lost."""
    disk = FaultyFilesystem()
    left_by_an_outage(disk)
    healthy = Life(disk, 102, set())
    healthy.take_over()
    healthy.pump()
    calls = healthy.process.done
    for n in sample(calls, "replay interrupted"):
        for m in (n, 3):
            disk = FaultyFilesystem()
            promised = left_by_an_outage(disk)
            for pid, at in ((102, n), (103, m)):
                heir = Life(disk, pid, promised)
                heir.process.kill_at(at, torn=30)
                try:
                    heir.take_over()
                    heir.pump()
                except Killed:
                    continue
                heir.process.die()
            start_again(disk, 104, promised)


@pytest.mark.parametrize("times", [1, None], ids=["once", "for ever"])
def test_start_whose_calls_fail(times: int | None) -> None:
    """Whatever call of a start fails, the start succeeds, and the one after it has it all."""
    disk = FaultyFilesystem()
    left_by_an_outage(disk)
    healthy = Life(disk, 102, set())
    healthy.take_over()
    healthy.pump()
    for n in sample(healthy.process.done, "start"):
        disk = FaultyFilesystem()
        promised = left_by_an_outage(disk)
        disk.fail("*", errno.EIO, when=n, times=times)
        heir = Life(disk, 102, promised)
        heir.take_over()
        heir.pump()
        disk.heal()
        heir.process.die()
        start_again(disk, 103, promised)


def session(life: Life) -> None:
    """Live a whole life: take over, log, outlast an outage, begin segments, close."""
    life.take_over()
    first_write(life)
    outage(life)
    life.rest()
    new_segment(life)
    acknowledged(life)
    life.close()


def test_session_killed_at_every_call_and_restarted_twice() -> None:
    """
    A whole session is killed at every call of it, the one that is started then at the same
    call, and the third lives: no record is lost or doubled, and no start fails.
    """
    life = Life(FaultyFilesystem(), 101, set())
    session(life)
    calls = life.process.done
    assert calls > 100
    deaths = 0
    for n in sample(calls, "session"):
        disk = FaultyFilesystem()
        promised: set[bytes] = set()
        for pid in (101, 102):
            life = Life(disk, pid, promised)
            life.process.kill_at(n, torn=n % 40)
            try:
                session(life)
            except Killed:
                deaths += 1
            disk.heal()
            life.process.die()
        start_again(disk, 103, promised)
    assert deaths >= 2 * len(sample(calls, "session")) - 2
