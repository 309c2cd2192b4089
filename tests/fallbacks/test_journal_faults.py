"""
The journal under faults: whatever fails or dies, what `append` returned for is found again.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallbacks.held import HeldStore
from fallbacks.journal import Journal, JournalFull, adopt
from fallbacks.position import Position
from fallbacks.testing.faulty_filesystem import FaultyFilesystem, FaultyProcess, Killed

pytestmark = pytest.mark.unit

DIRECTORY = "/state/journal"


@dataclass(frozen=True)
class Entry:
    tag: bytes
    line: bytes | None


def line(key: bytes, size: int = 0) -> bytes:
    """Return a canonical line."""
    return b'{"timestamp":"t","level":"error","message":"%b","id":"%b"}\n' % (b"x" * size, key)


def identify(data: bytes) -> bytes | None:
    """Return the id of a whole line."""
    at = data.rfind(b',"id":"')
    return data[at + 7 : -3] if at > 0 and data.endswith(b'"}\n') else None


def held_store(system: FaultyProcess, run: str, destination: str = "app") -> HeldStore:
    """Return the store that recovery fills."""
    return HeldStore(
        f"/state/held.{destination}",
        app="shop",
        destination=destination,
        run=run,
        identify=identify,
        weigh=lambda _: 1,
        system=system,
    )


class Life:
    """One life: adopt what is there, log, acknowledge some, leave."""

    def __init__(self) -> None:
        self.safe: set[bytes] = set()
        self.delivered: set[bytes] = set()

    def run(self, system: FaultyProcess, run: str, *, clean: bool = False) -> None:
        held = held_store(system, run)
        held.adopt()
        for recovered in adopt(DIRECTORY, app="shop", destinations={"app"}, system=system):
            try:
                held.import_lines(
                    recovered.run, recovered.pending.get("app", []), recovered.scan.get("app")
                )
            except OSError:
                recovered.release()
            else:
                recovered.finish()
        journal = Journal(
            DIRECTORY,
            app="shop",
            run=run,
            destinations=["app"],
            segment_bytes=600,
            quota=6000,
            system=system,
        )
        for n in range(1, 13):
            self.log(journal, b"%b.1g-%d" % (run.encode(), n), settle=n % 5 != 2)
            if n % 4 == 0:
                journal.make_spare()
                journal.sync()
                journal.housekeep()
        journal.close(clean=clean)
        held.close()

    def log(self, journal: Journal, key: bytes, *, settle: bool) -> None:
        entry = Entry(b"app", line(key, 60))
        try:
            segment = journal.append(key, b"app", line(key, 60), entry)
        except (OSError, JournalFull):
            return
        self.safe.add(key)
        if settle:
            self.delivered.add(key)
            try:
                journal.acknowledge("app", Position(1, 2, 3), [key])
            except (OSError, JournalFull):
                pass
            journal.settle(segment, key)


def found_after(fs: FaultyFilesystem) -> list[bytes]:
    """Start once more, on a healthy disk, and return the ids that are still there."""
    for pid in (200, 300):
        fs.kill(pid)
    fs.heal()
    fs.set_quota(None)
    process = fs.process(400)
    held = held_store(process, "runz")
    held.adopt()
    for recovered in adopt(DIRECTORY, app="shop", destinations={"app"}, system=process):
        held.import_lines(
            recovered.run, recovered.pending.get("app", []), recovered.scan.get("app")
        )
        recovered.finish()
    found: list[bytes] = []
    while (chunk := held.lines(100, 1 << 20)) is not None:
        found += [identify(data) or b"" for data in chunk.lines]
        held.acknowledge(chunk)
    held.close()

    assert ([], 0) == (fs.files(), fs.descriptors())
    assert len(set(found)) == len(found)
    return found


def operations_of_a_life() -> int:
    """Return how many operations a healthy life takes."""
    fs = FaultyFilesystem()
    process = fs.process(200)
    Life().run(process, "runa")
    again = fs.process(300)
    Life().run(again, "runb")
    return max(process.done, again.done)


LIFE = operations_of_a_life()


def test_healthy_life_leaves_exactly_the_unacknowledged() -> None:
    """Without faults only what was not acknowledged comes again."""
    fs = FaultyFilesystem()
    life = Life()
    life.run(fs.process(200), "runa")

    assert sorted(life.safe - life.delivered) == sorted(found_after(fs))


@pytest.mark.parametrize("times", [1, None])
def test_every_operation_fails(times: int | None) -> None:
    """Whatever fails, once or for ever, in the first life or the one that recovers it."""
    for n in range(1, LIFE + 1):
        for pid in (200, 300):
            fs = FaultyFilesystem()
            life = Life()
            if pid == 300:
                life.run(fs.process(200), "runa")
            fs.fail("*", errno.EIO, when=n, times=times)
            life.run(fs.process(pid), "runb")
            found = found_after(fs)

            assert set() == life.safe - life.delivered - set(found)


@pytest.mark.parametrize("torn", [0, 9, 100])
@pytest.mark.parametrize("mapped", [True, False])
def test_killed_at_every_operation(torn: int, mapped: bool) -> None:
    """A process killed at any operation, mapped or not: nothing taken is lost."""
    for n in range(1, LIFE + 30):
        fs = FaultyFilesystem()
        if not mapped:
            fs.fail("allocate", errno.EOPNOTSUPP, times=None)
        life = Life()
        process = fs.process(200)
        process.kill_at(n, torn=torn)
        try:
            life.run(process, "runa")
        except Killed:
            pass

        assert set() == life.safe - life.delivered - set(found_after(fs))


def test_recovery_killed_twice() -> None:
    """A recovery that is killed, and its successor too, loses nothing."""
    for n in range(1, LIFE + 1):
        for m in (1, 3, 7, 12, 20, 30):
            fs = FaultyFilesystem()
            life = Life()
            life.run(fs.process(200), "runa")
            for at, run in ((n, "runb"), (m, "runc")):
                process = fs.process(300)
                process.kill_at(at)
                try:
                    life.run(process, run)
                except Killed:
                    pass

            assert set() == life.safe - life.delivered - set(found_after(fs))


def test_disk_full_at_every_size() -> None:
    """A disk that fills up anywhere costs no record that was taken."""
    for quota in range(0, 4000, 37):
        fs = FaultyFilesystem(quota=quota)
        life = Life()
        life.run(fs.process(200), "runa")

        assert set() == life.safe - life.delivered - set(found_after(fs))


def test_power_cut_after_sync_loses_nothing() -> None:
    """What was appended before a `sync` that returned True survives a power cut."""
    for seed in range(60):
        fs = FaultyFilesystem(seed=seed)
        process = fs.process(200)
        journal = Journal(
            DIRECTORY,
            app="shop",
            run="runa",
            destinations=["app"],
            segment_bytes=600,
            system=process,
        )
        life = Life()
        for n in range(1, 9):
            life.log(journal, b"runa.1g-%d" % n, settle=False)
        if seed % 2:
            fs.fail("fdatasync", errno.EIO)
            failed = journal.sync()
            fs.heal()

            assert failed is False
        synced = journal.sync()
        life.log(journal, b"runa.1g-9", settle=False)
        fs.power_cut()
        found = found_after(fs)

        assert synced
        assert {b"runa.1g-%d" % n for n in range(1, 9)} <= set(found)


@given(st.binary(max_size=300), st.integers(0, 700), st.integers(0, 200))
@settings(max_examples=150, deadline=None)
def test_damaged_segment_never_stops_a_start(junk: bytes, at: int, cut: int) -> None:
    """No bytes stop recovery; records before the damage are found."""
    fs = FaultyFilesystem()
    process = fs.process(200)
    journal = Journal(
        DIRECTORY, app="shop", run="runa", destinations=["app"], system=process, segment_bytes=1000
    )
    keys = [b"runa.1g-%d" % n for n in range(1, 6)]
    ends = []
    for key in keys:
        segment = journal.append(key, b"app", line(key), Entry(b"app", line(key)))
        ends.append(segment.position())
    fs.kill(200)
    path = fs.files()[0]
    data = fs.read(path)
    fs.put(path, data[:at] + junk + data[at + cut :])
    found = [
        identify(data)
        for recovered in adopt(DIRECTORY, app="shop", destinations=["app"], system=fs)
        for data in recovered.pending.get("app", [])
    ]

    assert {key for key, end in zip(keys, ends, strict=True) if end <= at} <= set(found)
