"""
Strategies in the engine: what is acknowledged, what a copy that was down gets later,
and what the ledger says of it.
"""

from __future__ import annotations

import errno
import os
import threading

import pytest

import hydra
from fallbacks import DELIVERED, Batch, Delivered, Kind, Permanent, Unknown
from fallbacks.strategy import Strategy
from fallbacks.testing import FaultyAsyncTier, FaultyTier
from fallbacks.tiers import FileTier
from hydra.core.ids import identify
from hydra.engine._repairing import Repair
from hydra.metrics import Stats
from hydra.queue import Barrier, State
from tests.engine._world import DOWN
from tests.sinks._kit import held_files, numbers, records, until

pytestmark = pytest.mark.integration


def unreadable(error):
    """Return a way to look into a file that fails."""

    def scan(tier, *args):
        raise OSError(error, os.strerror(error))

    return scan


def test_mirror_brings_every_copy_everything(world):
    """Each copy has each record, and the ledger counts the delivery once."""
    w = world("mirror", copies=3)
    w.log(5)
    w.pump()

    assert [[0, 1, 2, 3, 4]] * 3 == [w.got(copy) for copy in range(3)]
    w.check(accepted=5, delivered=5, held=0, repairing=0, missed=0, strategy="mirror")


def test_mirror_repairs_a_copy_that_was_down(world):
    """What a copy missed is delivered, waits on the disk apart from what is held, and follows."""
    w = world("mirror")
    w.log(1)
    w.pump()
    w.sinks[1].fail_with(DOWN)
    for _ in range(4):
        w.log(1)
        w.pump(seconds=0.0)

    w.check(accepted=5, delivered=5, pending=0, held=0, repairing=4, missed=0)

    w.sinks[1].heal()
    w.pump(3)

    assert [[0, 1, 2, 3, 4]] * 2 == [w.got(0), w.got(1)]
    w.check(accepted=5, delivered=5, replayed=0, held=0, repairing=0, missed=0)


def test_repair_keeps_to_the_replay_rate(world):
    """A copy gets so many of the records it missed in a second at most, whoever waits for them."""
    w = world("mirror", replay_rate=100)
    w.sinks[1].fail_with(DOWN)
    w.log(500)
    w.pump(seconds=40.0)
    w.sinks[1].heal()
    got = []
    for _ in range(12):
        w.writer.barrier(Barrier(lambda: None))
        w.service.pump()
        got.append(len(w.got(1)))
        w.clock.advance(0.5)

    assert [*range(50, 501, 50), 500, 500] == got
    w.check(accepted=500, delivered=500, repairing=0, missed=0)


def test_mirror_repairs_the_destination_itself(world):
    """The first copy is a copy like the others."""
    w = world("mirror")
    w.sinks[0].fail_with(DOWN)
    receipt = w.log(3)
    w.pump(seconds=0.0)

    assert State.DELIVERED is receipt.wait(0).fates["app"].state
    assert "copy1" == receipt.wait(0).fates["app"].tier

    w.sinks[0].heal()
    w.pump(3)

    assert [0, 1, 2] == w.got(0)


def test_mirror_without_any_copy_holds_and_replays_to_all(world):
    """With every copy down a record is held once, and counted as pending."""
    w = world("mirror")
    for sink in w.sinks:
        sink.fail_with(DOWN)
    receipt = w.log(3)
    w.pump(seconds=0.0)

    assert State.HELD is receipt.wait(0).fates["app"].state
    w.check(delivered=0, pending=3, held=3, repairing=0)

    w.sinks[0].heal()
    w.pump(2)

    w.check(delivered=3, pending=0, replayed=3, held=0, repairing=3)

    w.sinks[1].heal()
    w.pump(3)

    assert [[0, 1, 2]] * 2 == [w.got(0), w.got(1)]
    w.check(delivered=3, replayed=3, repairing=0)


def test_miss_without_a_place_is_counted_for_good(world):
    """Where nothing can be kept for a copy, its misses are told, and the record is delivered."""
    w = world("mirror", hold=False)
    w.sinks[1].fail_with(DOWN)
    w.log(3)
    w.pump()
    w.sinks[1].heal()
    w.pump(3)

    assert ([0, 1, 2], []) == (w.got(0), w.got(1))
    w.check(delivered=3, pending=0, repairing=0, missed=3)


def test_miss_that_a_full_disk_refuses_is_counted(world):
    """A repair store that takes nothing is no silent hole."""
    w = world("mirror")
    w.system.fail("open", 28, times=None)
    w.sinks[1].fail_with(DOWN)
    w.log(2)
    w.pump()

    w.check(delivered=2, pending=0, repairing=0, missed=2)


def test_record_that_one_copy_refuses_is_missed_by_it_alone(world):
    """A poison record does not stop the repair of those behind it."""
    w = world("mirror")
    w.sinks[1].fail_with(DOWN)
    w.log(3)
    w.pump(seconds=0.0)

    class Picky(FaultyTier):
        def write(self, batch):
            bad = any(b'"n":1' in line for line in batch)
            return Permanent("poison") if bad else super().write(batch)

    picky = Picky()
    w.service.chain.tiers = (w.sinks[0], picky, *w.service.chain.tiers[2:])
    w.pump(3)

    assert [0, 2] == numbers(records(picky.taken))
    w.check(delivered=3, dropped=0, repairing=0, missed=1)


def test_repair_of_one_copy_does_not_wait_for_another(world):
    """Each copy has a store of its own."""
    w = world("mirror", copies=3)
    for copy in (1, 2):
        w.sinks[copy].fail_with(DOWN)
    w.log(2)
    w.pump(seconds=0.0)
    w.sinks[2].heal()
    w.pump(3)

    assert ([], [0, 1]) == (w.got(1), w.got(2))
    w.check(repairing=2)


def test_what_a_copy_missed_survives_the_process(world):
    """The next run finds the records of the copy on the disk, and they are no new deliveries."""
    first = world("mirror")
    first.sinks[1].fail_with(DOWN)
    first.log(3)
    first.pump(seconds=0.0)
    first.close()
    first.sinks[1].heal()
    second = world("mirror", sinks=first.sinks, system=first.system)
    second.service.adopt()
    second.pump(3)

    assert [0, 1, 2] == second.got(1)
    second.check(accepted=0, delivered=0, repairing=0)


def test_quorum_acknowledges_with_its_number_only(world):
    """With one copy of two that are needed, a record is held; it counts when the second has it."""
    w = world("quorum", copies=3)
    for copy in (1, 2):
        w.sinks[copy].fail_with(DOWN)
    receipt = w.log(3)
    w.pump(seconds=0.0)

    assert [0, 1, 2] == w.got(0)
    assert State.HELD is receipt.wait(0).fates["app"].state
    w.check(delivered=0, pending=3, held=3)

    w.sinks[2].heal()
    w.pump(3)

    assert [0, 1, 2] == w.got(0) == w.got(2)
    w.check(delivered=3, replayed=3, pending=0, held=0, repairing=3)

    w.sinks[1].heal()
    w.pump(3)

    assert [0, 1, 2] == w.got(1)
    w.check(delivered=3, repairing=0)


def test_file_gets_no_line_twice_after_a_restart_below_the_number(world):
    """What one file of a quorum had before the restart is found in it, from its beginning on."""
    first = world("quorum", path="/logs/app.log", type="file")
    first.sinks[1].fail_with(DOWN)
    for _ in range(3):
        first.log(1)
        first.pump(seconds=0.0)
    first.check(held=3)
    first.close()
    first.sinks[1].heal()
    second = world(
        "quorum", path="/logs/app.log", type="file", sinks=first.sinks, system=first.system
    )
    second.service.adopt()
    second.pump(3)

    assert [0, 1, 2] == second.got(1)
    assert [0, 1, 2] == numbers(records(second.system.read("/logs/app.log").splitlines()))
    second.check(delivered=3, held=0, repairing=0)


def test_quorum_without_a_place_to_hold_keeps_the_record(world):
    """Nothing is told as delivered below the number, and no copy gets a record twice."""
    w = world("quorum", copies=2, hold=False)
    w.sinks[1].fail_with(DOWN)
    receipt = w.log(2)
    w.pump(3)

    assert State.PENDING is receipt.wait(0).fates["app"].state
    w.check(delivered=0, pending=2, queued=2)

    w.sinks[1].heal()
    w.pump(2)

    assert [0, 1] == w.got(0) == w.got(1)
    w.check(delivered=2, pending=0)


def test_quorum_is_not_acknowledged_in_the_journal_before_it_is_met(world):
    """An ERROR that one copy of two has stays live in the journal, until the second has it."""
    w = world("quorum", copies=2, hold=False, journal=True)
    w.sinks[1].fail_with(DOWN)
    w.log(2, level=40)
    w.pump(2)

    assert 2 == w.run.keeper.journal.statistics().live

    w.sinks[1].heal()
    w.pump(2)

    assert 0 == w.run.keeper.journal.statistics().live


def test_miss_is_on_the_disk_before_the_journal_lets_go(world):
    """An ERROR stays live in the journal until what a copy missed is kept for it."""
    w = world("mirror", journal=True)
    w.sinks[1].fail_with(DOWN)
    store = w.writer.repairs.copies[1].store
    live, real = [], store.write

    def write(batch):
        live.append(w.run.keeper.journal.statistics().live)
        return real(batch)

    store.write = write
    w.log(2, level=40)
    w.pump()

    assert [2] == live
    assert 0 == w.run.keeper.journal.statistics().live
    w.check(delivered=2, repairing=2)


def test_caller_is_not_made_to_miss_a_copy(world):
    """Who helps with its own record runs files and consoles only, so not where a sink is a copy."""
    w = world("failover", path="/logs/app.log", type="file")

    assert w.service._helpful

    w.service.chain.switch(Strategy.MIRROR)

    assert () == w.service._helpful

    w.log(1)
    w.service.help()

    w.check(queued=1, delivered=0)


def test_unknown_answer_marks_what_a_copy_gets_again(world):
    """A copy that may have a record gets it marked as a possible duplicate, already at first."""
    w = world("mirror", sinks=[FaultyTier(), FaultyTier([Unknown("lost")])])
    w.log(1)
    w.pump(2)

    assert [False, True] == [batch.duplicate for batch in w.sinks[1].batches]
    assert [False] == [batch.duplicate for batch in w.sinks[0].batches]


def test_late_answer_of_a_repair_store_is_no_delivery(world):
    """What a store for one copy took after its deadline adds nothing to the ledger."""
    w = world("mirror")
    w.sinks[1].fail_with(DOWN)
    w.log(1)
    w.pump(seconds=0.0)
    line = w.sinks[0].taken[0]
    w.service.chain.late(w.service.chain.repairs[1], Batch([line]), DELIVERED)

    w.check(accepted=1, delivered=1)

    w.pump(seconds=0.0)

    w.check(accepted=1, delivered=1)


def test_spool_holds_first_and_replays_in_order(world):
    """A live record goes to the file first, and from there to the destination."""
    w = world("spool", copies=1)
    receipt = w.log(3)
    job = w.writer.next_job((0, 1), patient=False, replay=False)

    assert w.service.chain.run(job.delivery, job.batch, w.clock.advance)

    w.writer.finish(job)

    assert State.HELD is receipt.wait(0).fates["app"].state
    assert [] == w.sinks[0].taken
    w.check(delivered=0, pending=3, held=3)
    w.pump()

    assert [0, 1, 2] == w.got(0)
    w.check(delivered=3, replayed=3, held=0)


def test_spool_that_refuses_is_passed_by_and_counted(world):
    """With a full disk, records go to the destination directly, and the tier's failures show."""
    w = world("spool", copies=1)
    w.system.fail("open", 28, times=None)
    w.log(3)
    w.pump()

    assert [0, 1, 2] == w.got(0)
    w.check(delivered=3, replayed=0, held=0)
    assert w.stats.tiers[1].failed > 0


def test_fastest_goes_to_the_copy_that_answers_sooner(world):
    """The slow copy is asked now and then; nothing goes to both."""
    w = world("fastest")

    def slow(copy, seconds):
        real = FaultyTier.write

        def write(batch):
            w.clock.advance(seconds)
            return real(w.sinks[copy], batch)

        w.sinks[copy].write = write

    slow(0, 1.0)
    slow(1, 0.01)
    for _ in range(24):
        w.log(1)
        w.pump(seconds=0.0)

    assert 24 == len(w.got(0)) + len(w.got(1))
    assert 18 <= len(w.got(1))
    w.check(accepted=24, delivered=24, repairing=0)


def test_held_records_go_to_any_copy_with_fastest(world):
    """Replay does not wait for the first copy where any will do."""
    w = world("fastest")
    for sink in w.sinks:
        sink.fail_with(DOWN)
    w.log(3)
    w.pump(seconds=0.0)

    w.check(held=3)

    w.sinks[1].heal()
    w.pump(3)

    assert [0, 1, 2] == w.got(1)
    w.check(delivered=3, held=0)


@pytest.mark.parametrize("after", ["failover", "spool", "mirror", "fastest", "quorum"])
@pytest.mark.parametrize("before", ["failover", "spool", "mirror", "fastest", "quorum"])
def test_switching_loses_nothing(before, after, world):
    """From any strategy to any other, with a copy down at the switch: the ledger balances."""
    w = world(before, copies=2)
    w.log(3)
    w.pump(seconds=0.0)
    w.sinks[0].fail_with(DOWN)
    w.log(3)
    w.pump(seconds=0.0)
    w.service.chain.switch(Strategy(after))
    w.log(3)
    w.pump(seconds=0.0)
    w.sinks[0].heal()
    w.log(1)
    w.pump(4)

    assert set(range(10)) == set(w.got(0)) | set(w.got(1))
    assert sorted(w.got(0)) == sorted(set(w.got(0)))
    assert sorted(w.got(1)) == sorted(set(w.got(1)))
    w.check(accepted=10, delivered=10, pending=0, held=0, repairing=0, missed=0)


@pytest.mark.parametrize("kind", [FaultyTier, FaultyAsyncTier])
def test_threads_that_log_while_the_strategy_changes(kind, tmp_path):
    """Under load, a switch between any two batches costs no record and doubles none."""
    tiers = [kind(name=f"copy{n}") for n in range(3)]
    hydra.configure(
        app="t",
        destinations=[
            hydra.Destination(
                tiers[0],
                name="app",
                fallback=[{"sink": tiers[1]}, {"sink": tiers[2]}, {"type": "file"}],
            )
        ],
    )
    log = hydra.get_logger("s")
    hydra.flush(10)
    from hydra.engine._engine import ENGINE

    chain = ENGINE.run.services["app"].chain
    begin = threading.Barrier(4)

    def work(name):
        begin.wait()
        for n in range(500):
            log.info("x", t=name, n=n)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    begin.wait()
    while any(thread.is_alive() for thread in threads):
        for strategy in Strategy:
            chain.switch(strategy)
    for thread in threads:
        thread.join()
    chain.switch(Strategy.MIRROR)
    until(lambda: hydra.flush(10).held == 0, "everything held is replayed")
    stats = hydra.stats()
    found = [[identify(line) for line in tier.taken if b'"t":' in line] for tier in tiers]

    assert stats.balanced
    assert (1500, 0, 0) == (stats.delivered, stats.dropped, stats.pending)
    assert 1500 == len({key for keys in found for key in keys})
    assert all(len(set(keys)) == len(keys) for keys in found)


def test_configuring_again_under_load_with_other_strategies(tmp_path):
    """A run with another strategy takes over from the one before, and nothing is lost."""
    tiers = [FaultyTier(name=f"copy{n}") for n in range(2)]

    def configure(strategy):
        hydra.configure(
            app="t",
            destinations=[
                hydra.Destination(
                    tiers[0], name="app", strategy=strategy,
                    fallback=[{"sink": tiers[1]}, {"type": "file"}],
                )
            ],
        )  # fmt: skip

    configure("failover")
    log = hydra.get_logger("s")
    begin = threading.Barrier(3)

    def work(name):
        begin.wait()
        for n in range(300):
            log.info("x", t=name, n=n)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    begin.wait()
    for strategy in ("mirror", "fastest", "quorum", "failover", "mirror"):
        configure(strategy)
    for thread in threads:
        thread.join()
    stats = hydra.close(10)
    got = {(r["t"], r["n"]) for tier in tiers for r in records(tier.taken) if "t" in r}

    assert stats.balanced
    assert {(t, n) for t in range(2) for n in range(300)} == got
    assert isinstance(stats, Stats)


def test_copy_without_a_store_keeps_nothing():
    """A repair without a place has nothing to do."""
    repair = Repair(None, (0,))

    assert (0, None) == (repair.waiting, repair.job(None, None, 0.0))
    assert Kind.REPAIR.value == "repair"
    assert held_files() == []


def test_copy_that_takes_a_part_gets_the_rest(world):
    """A chunk that a copy took in part goes on behind that part."""
    w = world("mirror")
    w.sinks[1].fail_with(DOWN)
    w.log(5)
    w.pump()
    w.sinks[1].fail_with(DOWN)
    w.sinks[1]._script.append(Delivered(2))
    w.pump()
    w.sinks[1].heal()
    w.pump(3)

    assert [0, 1, 2, 3, 4] == w.got(1)
    w.check(delivered=5, repairing=0)


def test_replay_of_a_part_goes_on_behind_it(world):
    """A held chunk that the destination took in part is delivered once."""
    w = world("failover", copies=1)
    w.sinks[0].fail_with(DOWN)
    w.log(5)
    w.pump()
    w.sinks[0].fail_with(DOWN)
    w.sinks[0]._script.append(Delivered(2))
    w.pump()

    w.check(held=5, delivered=0)
    w.sinks[0].heal()
    w.pump(3)

    assert [0, 1, 2, 3, 4] == w.got(0)
    w.check(delivered=5, replayed=5, held=0)


def test_file_gets_no_line_twice_after_an_unknown_answer(world, monkeypatch):
    """What a file may have is looked up in it before it is replayed."""
    w = world("failover", copies=1, path="/logs/app.log", type="file")
    write = FileTier.write

    def unsure(tier, batch):
        write(tier, batch)
        return Unknown("late")

    with monkeypatch.context() as patch:
        patch.setattr(FileTier, "write", lambda tier, batch: DOWN)
        w.log(1)
        w.pump(seconds=10.0)
        patch.setattr(FileTier, "write", unsure)
        w.log(4)
        w.service.help()
    w.check(held=5)
    w.pump(3)

    # What was held before the doubt comes last; it is not there yet.
    assert [1, 2, 3, 4, 0] == numbers(records(w.system.read("/logs/app.log").splitlines()))
    w.check(delivered=5, held=0)


@pytest.mark.parametrize(("error", "times"), [(errno.EIO, 1), (errno.EMFILE, 1), (errno.EACCES, 2)])
def test_file_that_cannot_be_looked_up(world, monkeypatch, error, times):
    """
    What a file may have waits until the file can be read; where reading is never permitted,
    it is delivered, and may be there twice.
    """
    w = world("failover", copies=1, path="/logs/app.log", type="file")
    write = FileTier.write

    def unsure(tier, batch):
        write(tier, batch)
        return Unknown("late")

    with monkeypatch.context() as patch:
        patch.setattr(FileTier, "write", lambda tier, batch: DOWN)
        w.log(1)
        w.pump(seconds=10.0)
        patch.setattr(FileTier, "write", unsure)
        w.log(2)
        w.service.help()
    with monkeypatch.context() as patch:
        patch.setattr(FileTier, "lines_from", unreadable(error))
        w.pump(3)
        meanwhile = sorted(numbers(w.file()))
    w.pump(3)

    assert sorted([0] * (times - 1) + [1, 2] * times) == meanwhile
    assert sorted([0] + [1, 2] * times) == sorted(numbers(w.file()))
    w.check(delivered=3, held=0)


@pytest.mark.parametrize(("error", "times"), [(errno.EIO, 1), (errno.EACCES, 2)])
def test_copy_that_cannot_be_looked_up(world, monkeypatch, error, times):
    """Nor does a copy in a file get twice what it may have, unless it may not be read at all."""
    first = world("quorum", path="/logs/app.log", type="file")
    first.sinks[1].fail_with(DOWN)
    first.log(1)
    first.pump(seconds=0.0)
    first.close()
    first.sinks[1].heal()
    second = world(
        "quorum", path="/logs/app.log", type="file", sinks=first.sinks, system=first.system
    )
    second.service.adopt()
    with monkeypatch.context() as patch:
        patch.setattr(FileTier, "lines_from", unreadable(error))
        second.pump(3)
    second.pump(3)

    assert [0] == second.got(1)
    assert [0] * times == numbers(second.file())
    second.check(delivered=1, held=0, repairing=0)


def test_repaired_copy_that_cannot_be_looked_up(world, monkeypatch):
    """The same holds for what one copy of a mirror has missed, and is brought."""
    w = world("mirror", path="/logs/app.log", type="file")
    write = FileTier.write

    def unsure(tier, batch):
        write(tier, batch)
        return Unknown("late")

    with monkeypatch.context() as patch:
        patch.setattr(FileTier, "write", lambda tier, batch: DOWN)
        w.log(1)
        w.pump()
        patch.setattr(FileTier, "write", unsure)
        patch.setattr(FileTier, "lines_from", unreadable(errno.EIO))
        w.pump(3)
        w.check(delivered=1, repairing=1)
    w.pump(3)

    assert [0] == numbers(w.file())
    w.check(delivered=1, repairing=0)


def test_chunks_follow_the_destination(world):
    """Replayed chunks grow while it answers at once, and shrink while it is slow."""
    w = world("failover", copies=1)
    w.sinks[0].fail_with(DOWN)
    for _ in range(15):
        w.log(1_000)
        w.pump(seconds=0.0)
    w.sinks[0].heal()
    w.sinks[0].batches.clear()
    answer = w.sinks[0].write
    slow = 0.0

    def write(batch):
        nonlocal slow
        slow = 1.0 if len(batch) == 2_000 else slow
        w.clock.advance(slow)
        return answer(batch)

    w.sinks[0].write = write
    w.pump(5)

    assert [250, 500, 1_000, 2_000, 1_000, 500, 250] == [
        len(batch) for batch in w.sinks[0].batches[:7]
    ]
    w.check(delivered=15_000, held=0)
