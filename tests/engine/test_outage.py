"""
A destination that is down for a day, and a store that is full: what is kept, declared, replayed.
"""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from benchmarks.outage import Outage, Scenario
from fallbacks.testing.fake_clock import FakeClock
from fallbacks.testing.faulty_filesystem import FaultyFilesystem
from hydra.cli import main
from hydra.config import load
from hydra.core.ids import identify
from hydra.engine import _writer
from hydra.engine._build import build
from hydra.queue import Barrier

pytestmark = pytest.mark.integration

DAY = Scenario(
    hours=24.0,
    rate=0.3,
    quota=1 << 20,
    errors=100,
    step=60.0,
    live_rate=100.0,
    bandwidth=1_000.0,
    timeout=0.5,
    quiet_after=2.0,
)
"""Four times as many bytes as the quota, and a replay that takes many deadlines."""


def test_day_without_the_destination(tmp_path, capsysbinary):
    """
    After 24 h: memory flat, what exceeds the quota declared, the guaranteed lane whole, replay
    in order, no id twice, new records within their deadline meanwhile; and the audit agrees.
    """
    lines = []
    outage = Outage(DAY, str(tmp_path / "work"), keep=lines.append)
    moments = outage.run()
    half = [next(moments) for _ in range(13)][-1]
    tracemalloc.start()
    try:
        full = [next(moments) for _ in range(12)][-1]
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    [end] = moments
    checks = outage.checks()

    assert (12.0, 24.0, True) == (half.hour, full.hour, outage.up)
    assert {} == {name: said for name, (kept, said) in checks.items() if not kept}
    assert 0 < half.dropped < full.dropped - 10_000
    assert max(half.bytes, full.bytes) < DAY.quota + 4096
    assert (0, 0) == (end.held, end.bytes)
    assert grown < 50_000
    assert outage.replayed_at - outage.healed_at > 8 * DAY.timeout

    path = tmp_path / "collector.log"
    path.write_bytes(b"".join(lines))
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(path)])
    assert b"verdict complete" in capsysbinary.readouterr().out
    assert 0 == ended.value.code


@pytest.mark.parametrize("rate", [20, 500])
def test_replay_keeps_its_rate(tmp_path, rate):
    """With `replay_rate` held records come back no faster, whoever asks; new ones are not held."""
    scenario = Scenario(
        hours=1, rate=1.0, quota=8 << 20, step=60.0, live_rate=10.0, replay_rate=rate
    )
    outage = Outage(scenario, str(tmp_path))
    list(outage.run())
    took = outage.replayed_at - outage.healed_at
    replayed = sum(found.count for found in outage.replayed.values())

    assert {} == {name: said for name, (kept, said) in outage.checks().items() if not kept}
    assert 3_600 <= replayed
    # The first chunk costs no time.
    assert rate / 2 <= (replayed - rate / 2) / took <= rate
    assert outage.worst < 0.2


# A store without room, step by step.


class World:
    """A run whose only destination fails until it is healed, and whose store is small."""

    def __init__(self, fallback, **settings):
        self.down = True
        self.lines = []
        self.fs = FaultyFilesystem()
        self.clock = FakeClock()
        self.run = build(
            load(
                {
                    "app": "t",
                    "journal": {"enabled": False},
                    "queue": {"records": 100, "reserve": 50},
                    "destinations": [
                        {
                            "name": "app",
                            "type": "sink",
                            "sink": self.take,
                            "retries": 0,
                            "fallback": fallback,
                        }
                    ],
                    **settings,
                }
            ),
            system=self.fs,
            clock=self.clock,
            threaded=False,
        )
        self.service = self.run.services["app"]
        self.writer = self.service.writer

    def take(self, lines):
        if self.down:
            raise ConnectionRefusedError("down")
        self.lines += lines

    def send(self, count, *, level=20):
        """Send records, and pump."""
        stream = self.run.stream(("app",), guaranteed=level >= 40)
        word = b"error" if level >= 40 else b"info"
        body = b'{"timestamp":"x","level":"%b","logger":"s","pad":"%b"' % (word, b"x" * 900)
        receipts = [stream.send(body, level, True) for _ in range(count)]
        self.service.pump()
        return receipts

    def heal(self):
        """Let the destination take everything, and wait for it."""
        self.down = False
        for _ in range(10):
            self.writer.barrier(Barrier(lambda: None))
            self.service.pump()
            self.clock.advance(1.0)

    def close(self):
        self.run.begin_close()
        self.service.pump()
        self.run.finish_close(0.0)

    def ids(self, lane):
        """Return the numbers of a lane that the destination has, in order."""
        found = [identify(line).rpartition(b"-") for line in self.lines]
        return [int(n) for stream, _, n in found if stream.endswith(lane)]


SMALL = {"type": "file", "path": "/spare/held", "quota": 128 << 10, "reserve": 64 << 10}


@pytest.fixture
def make():
    """Make worlds, and close them."""
    worlds = []

    def made(*args, **options):
        worlds.append(World(*args, **options))
        return worlds[-1]

    yield made
    for world in worlds:
        world.down = False
        world.close()


def test_ordinary_records_beyond_the_reserve_are_dropped_and_told(make):
    """Nobody waits for room: the receipt says `quota`, the ledger balances, the log declares it."""
    world = make([SMALL])
    receipts = world.send(90)
    dropped = [r for r in receipts if r.wait(0).fates["app"].reason == _writer.QUOTA]
    balance = world.writer.balance()

    assert 20 < len(dropped) < 40
    assert receipts[-len(dropped) :] == dropped
    assert {("info", "quota"): len(dropped)} == dict(balance.drops)
    assert (True, 90 - len(dropped)) == (balance.balanced, balance.pending)

    world.heal()

    assert list(range(1, 91 - len(dropped))) == world.ids(b"r")
    assert f'"count":{len(dropped)},'.encode() in b"".join(world.lines)
    assert world.writer.balance().pending == 0


def test_errors_get_the_reserve(make):
    """With ordinary records refused, ERRORs are held, in a batch of both as well."""
    world = make([SMALL])
    world.send(90)
    world.send(30, level=40)
    before = world.writer.drops.total
    world.send(10)
    world.heal()

    assert 10 == world.writer.drops.total - before
    assert list(range(1, 31)) == world.ids(b"g")


def test_next_tier_gets_what_exceeds_the_quota(make):
    """Where the chain goes on behind the store, nothing is dropped."""
    taken = []
    world = make([SMALL, {"type": "sink", "sink": taken.extend}])
    world.send(90)

    assert (0, True) == (world.writer.drops.total, 20 < len(taken) < 40)
    assert world.writer.balance().balanced


def test_what_is_held_is_not_on_its_way_as_well(make):
    """While a batch that is held in part goes on to the next tier, the ledger balances."""
    found = []

    def take(lines):
        balance = world.writer.balance()
        found.append((balance.balanced, balance.pending))

    world = make([SMALL, {"type": "sink", "sink": take}])
    world.send(90)

    assert (True, 90) == found[0]


def test_next_tier_that_fails_too(make):
    """Where the tier behind the store fails as well, what exceeds the quota is dropped."""

    def refuse(lines):
        raise OSError("down, too")

    world = make([SMALL, {"type": "sink", "sink": refuse}])
    world.send(90)

    assert {"quota"} == {reason for _, reason in world.writer.balance().drops}
    assert 0 == world.service.queue.depth


def test_errors_beyond_the_whole_quota_wait(make):
    """Guaranteed records are never dropped for want of room: they stay in the queue, in order."""
    world = make([SMALL])
    world.send(90)
    world.send(100, level=40)
    waiting = world.service.queue.depth
    dropped = world.writer.drops.total
    world.send(20)
    again = (world.service.queue.depth, world.writer.drops.total)

    assert 20 < waiting < 60
    assert (waiting + 20, dropped) == again
    assert world.writer.balance().balanced

    world.heal()

    assert list(range(1, 101)) == sorted(world.ids(b"g"))
    assert len(set(world.ids(b"r"))) == len(world.ids(b"r"))
    assert (0, True) == (world.writer.balance().pending, world.writer.balance().balanced)


def test_barrier_is_behind_the_errors_that_wait(make):
    """A flush that meets ERRORs for which there is no room ends after the last of them."""
    world = make([SMALL])
    world.send(90)
    stream = world.run.stream(("app",), guaranteed=True)
    body = b'{"timestamp":"x","level":"error","logger":"s","pad":"%b"' % (b"x" * 900)
    for _ in range(100):
        stream.send(body, 40)
    seen = []
    world.writer.barrier(Barrier(lambda: seen.append(world.service.queue.depth)))
    # One for what is held, which has its turn, and one for what is queued.
    world.service.pump()
    world.service.pump()
    waiting, early = world.service.queue.depth, list(seen)
    world.heal()

    assert (True, []) == (20 < waiting < 60, early)
    assert [0] == seen


def test_helping_caller_drops_nothing_for_want_of_room(make):
    """A caller that lends its thread leaves to the writer what needs a decision."""
    world = make([SMALL])
    world.send(90)
    dropped = world.writer.drops.total
    stream = world.run.stream(("app",), guaranteed=False)
    stream.send(b'{"timestamp":"x","level":"info","logger":"s","pad":"%b"' % (b"x" * 900), 20)
    job = world.writer.next_job(world.service._safe, patient=False, replay=False)
    world.service.chain.run(job.delivery, job.batch, lambda _: None)
    world.writer.finish(job)

    assert (dropped, 1) == (world.writer.drops.total, world.service.queue.depth)


def test_declaration_does_not_hold_up_records(make):
    """A control record that finds no room waits by itself, and is written once, whole."""
    world = make([SMALL])
    for _ in range(5):
        world.send(60)
        world.clock.advance(2.0)
    assert 0 == world.service.queue.depth
    world.heal()
    reports = [line for line in world.lines if b'"event":"drops"' in line]

    assert len(reports) == len({identify(line) for line in reports})
    assert world.writer.drops.total == sum(
        int(line.split(b'"count":', 1)[1].split(b",", 1)[0]) for line in reports
    )
