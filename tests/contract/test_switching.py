"""
Strategies that change and destinations that come and go, with records held on the way:
whoever is in force takes over what its forerunners held.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from itertools import cycle

import pytest
from click.testing import CliRunner

import hydra
from hydra.cli import main
from hydra.core import INFO
from hydra.engine import ENGINE
from tests.contract.kit import PATIENCE, Between, balanced, closed, quiet

pytestmark = pytest.mark.integration

_PAUSE = threading.Event()

STRATEGIES = ["failover", "mirror", "quorum", "spool", "fastest", "failover"]
THREADS, TASKS = 4, 100


class Tap:
    """A sink that refuses everything while it is shut, and keeps what it takes."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.shut = False
        self.lines: list[bytes] = []

    def __call__(self, lines):
        if self.shut:
            raise OSError("down")
        self.lines += lines

    @property
    def messages(self):
        """What the application logged, in the order of its arrival."""
        found = map(json.loads, self.lines)
        return [each["message"] for each in found if each["logger"] != "hydra.ledger"]


@pytest.fixture(name="taps")
def _taps():
    return [Tap("first"), Tap("second"), Tap("third")]


def use(taps, strategy, **options):
    """Configure one destination with a copy for each of *taps*, and a file that holds."""
    first, *others = taps
    fallback = [{"type": "sink", "sink": tap} for tap in others]
    hydra.configure(
        destinations=[
            {
                "name": "app", "type": "sink", "sink": first, "strategy": strategy,
                "fallback": [*fallback, {"type": "file"}],
            }
            | options
        ]
    )  # fmt: skip


def settled(done):
    """Drain until *done* says of the stats that it is over; return them."""
    for _ in range(1_000):
        stats = quiet()
        if done(stats):
            return stats
        _PAUSE.wait(0.01)
    raise AssertionError(stats)


def until(done):
    """Wait for what another thread does by itself."""
    for _ in range(1_000):
        if done():
            return
        _PAUSE.wait(0.01)
    raise AssertionError


def test_held_records_are_taken_over_as_soon_as_their_run_has_closed(taps):
    """Neither another start nor another record is needed, and they are in one run's books."""
    log = hydra.get_logger("shop")
    use(taps[:1], "failover")
    taps[0].shut = True
    for n in range(5):
        log.info(str(n))
    before = quiet()
    taps[0].shut = False
    use(taps[:1], "failover")
    after = settled(lambda stats: not stats.pending)

    assert (5, 0, 5, 5) == (before.accepted, before.delivered, before.pending, before.held)
    assert (5, 5, 0, 5) == (after.accepted, after.delivered, after.pending, after.replayed)
    assert ["0", "1", "2", "3", "4"] == taps[0].messages


def test_held_records_of_a_closed_engine_are_counted_once(taps):
    """What a close left held is no longer the closed run's when the next one has it."""
    log = hydra.get_logger("shop")
    use(taps[:1], "failover")
    taps[0].shut = True
    log.info("held")
    left = closed()
    use(taps[:1], "failover")
    found = quiet()
    taps[0].shut = False
    settled(lambda stats: not stats.pending)

    assert (1, 1) == (left.accepted, left.held)
    assert (1, 1) == (found.accepted, found.held)
    assert ["held"] == taps[0].messages


def test_record_held_after_its_run_has_closed_is_taken_over(taps):
    """A call that comes too late for its run leaves a file, which is not forgotten either."""
    log = hydra.get_logger("shop")
    use(taps[:1], "failover")
    taps[0].shut = True
    run = ENGINE.run
    stream = ENGINE.current().route("shop", INFO)

    def replace():
        use(taps[:1], "failover")
        until(lambda: run.gone)

    stream.numbers = Between(stream, replace)
    log.info("late")
    taps[0].shut = False
    stats = settled(lambda stats: not stats.pending)

    assert ["late"] == taps[0].messages
    assert 1 == stats.accepted


def test_what_a_copy_missed_is_brought_to_it_by_the_next_run(taps):
    """The file of what a copy missed is taken over like the one of what is held."""
    log = hydra.get_logger("shop")
    use(taps[:2], "mirror")
    taps[1].shut = True
    for n in range(5):
        log.info(str(n))
    before = quiet().destinations["app"]
    taps[1].shut = False
    use(taps[:2], "mirror")
    settled(lambda stats: len(taps[1].messages) == 5)

    assert (5, 5, 0) == (before.delivered, before.repairing, before.held)
    assert taps[0].messages == taps[1].messages == ["0", "1", "2", "3", "4"]
    assert all(
        service.writer.repairs.waiting == 0
        for run in ENGINE.own_runs()
        for service in run.services.values()
    )


def test_destination_that_is_removed_and_comes_back(taps):
    """What it held stays in the books and on the disk, until one of its name is there again."""
    log = hydra.get_logger("shop")
    use(taps[:1], "failover")
    taps[0].shut = True
    log.info("held")
    quiet()
    old = ENGINE.run
    use([taps[1]], "failover", name="other")
    until(lambda: old.gone)
    meanwhile = quiet()
    taps[0].shut = False
    use(taps[:1], "failover")
    settled(lambda stats: not stats.pending)

    assert (1, 1) == (meanwhile.accepted, meanwhile.pending)
    assert (["held"], []) == (taps[0].messages, taps[1].messages)


def test_every_strategy_with_records_held_at_each_step(taps):
    """Each record reaches a copy, none reaches one twice, and the ledger balances at each step."""
    log = hydra.get_logger("shop")
    logged = 0
    for strategy in STRATEGIES:
        for tap in taps:
            tap.shut = False
        use(taps, strategy)
        quiet()
        for tap in taps:
            tap.shut = True
        for _ in range(5):
            log.info(str(logged))
            logged += 1
        assert quiet().held >= 5
    for tap in taps:
        tap.shut = False
    settled(lambda stats: not stats.pending)
    stats = closed()

    assert (0, 0) == (stats.pending, stats.dropped)
    assert {str(n) for n in range(logged)} == {text for tap in taps for text in tap.messages}
    assert all(1 == count for tap in taps for count in Counter(tap.messages).values())


class Disks:
    """
    Directories whose files cannot be written to while they are away.

    Each is a symbolic link, which can be turned to something else in one step: the engine
    makes a directory anew that is gone for a moment.
    """

    def __init__(self, parent, *names):
        self._disks = [parent / name for name in names]
        self._real = parent / "real"
        for disk in self._disks:
            (self._real / disk.name).mkdir(parents=True)
            self._plain(disk).touch()
        self.come()

    def go(self):
        """Put a file in the place of each directory."""
        for disk in self._disks:
            self._turn(disk, self._plain(disk))

    def come(self):
        """Put each directory back."""
        for disk in self._disks:
            self._turn(disk, self._real / disk.name)

    def _plain(self, disk):
        return self._real / f"{disk.name}.plain"

    def _turn(self, disk, target):
        fresh = self._real / "next"
        fresh.symlink_to(target)
        fresh.replace(disk)


@pytest.mark.timeout(300)
def test_strategies_and_destinations_change_under_load(tmp_path):
    """
    Four threads and a hundred tasks log while strategies switch, destinations come and
    go, and disks too: the audit misses nothing, and the ledger balances.
    """
    disks = Disks(tmp_path, "disk", "mirror")
    names = ["app", "extra"]
    log = hydra.get_logger("shop")
    over = threading.Event()
    counts: Counter[str] = Counter()
    moved = threading.Condition()

    def file(name, strategy):
        return {
            "name": name, "type": "file", "path": str(tmp_path / "disk" / f"{name}.log"),
            "strategy": strategy,
            "fallback": [
                {"type": "file", "path": str(tmp_path / "mirror" / f"{name}.log"), "hold": False},
                {"type": "file"},
            ],
        }  # fmt: skip

    def note(who):
        with moved:
            counts[who] += 1
            moved.notify_all()

    def work(who):
        while not over.is_set():
            for n in range(10):
                (log.error if n == 0 else log.info)("placed", who=who, n=counts[who])
                note(who)
            over.wait(0.005)

    async def task(who):
        while not over.is_set():
            receipt = (log.error if counts[who] % 10 == 0 else log.info)(
                "placed", who=who, n=counts[who]
            )
            note(who)
            await receipt
            await asyncio.sleep(0.02)

    async def tasks():
        await asyncio.gather(*(task(f"task{n}") for n in range(TASKS)))

    def progress():
        """Wait until everybody has logged something more."""
        before = counts.copy()
        everybody = [f"thread{n}" for n in range(THREADS)] + [f"task{n}" for n in range(TASKS)]
        with moved:
            assert moved.wait_for(
                lambda: all(counts[who] > before[who] for who in everybody), PATIENCE
            )

    # Nobody is to find a queue full for so long that a record is dropped.
    queue = {"block_timeout": PATIENCE}
    hydra.configure(destinations=[file("app", "failover")], queue=queue)
    threads = [threading.Thread(target=work, args=(f"thread{n}",)) for n in range(THREADS)]
    threads.append(threading.Thread(target=lambda: asyncio.run(tasks())))
    for thread in threads:
        thread.start()
    strategies = cycle(STRATEGIES)
    try:
        for n in range(2 * len(STRATEGIES)):
            progress()
            strategy = next(strategies)
            away = n % 3 == 1
            if away:
                disks.go()
                progress()
            hydra.configure(
                destinations=[file(name, strategy) for name in names[: 1 + n % 2]], queue=queue
            )
            progress()
            if away:
                disks.come()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    hydra.configure(destinations=[file(name, "failover") for name in names])
    hydra.flush(PATIENCE)
    settled(lambda stats: not stats.pending and not any(
        service.writer.repairs.waiting
        for run in ENGINE.own_runs() for service in run.services.values()
    ))  # fmt: skip
    last = balanced(hydra.close(PATIENCE))

    logs = sorted(str(path) for path in tmp_path.glob("*/*.log"))
    found = CliRunner().invoke(main, ["audit", "--json", *logs])
    report = json.loads(found.stdout)
    assert ("complete", 0, 0) == (report["verdict"], report["missing"], report["declared_dropped"])
    assert 4 == len(logs)
    got: dict[str, set[int]] = {}
    for path in logs:
        with open(path, "rb") as file_:
            # An empty one ends what looked torn to another writer of the file.
            records = [json.loads(line) for line in file_ if line != b"\n"]
        assert len(records) == len({each["id"] for each in records}), path
        for each in records:
            if each["logger"] == "shop":
                got.setdefault(each["who"], set()).add(each["n"])
    assert {who: set(range(count)) for who, count in counts.items()} == got
    assert (0, 0) == (last.pending, last.dropped)
