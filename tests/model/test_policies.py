"""
Each policy of a full queue against a list in plain Python that says what must happen.

A run without threads, a sink and files in memory: queue, writer and spiller are moved
by hand, one step at a time, and compared with the model after each.
"""

from __future__ import annotations

import errno
from asyncio.events import _set_running_loop
from collections import Counter, deque
from typing import Any, Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallbacks.testing import FakeClock, FaultyFilesystem
from hydra.config._settings import (
    DestinationSettings,
    FallbackSettings,
    JournalSettings,
    QueueSettings,
    Settings,
)
from hydra.core.ids import identify
from hydra.core.levels import ERROR, WARNING, level_name, level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine._admission import WAYS, Where
from hydra.engine._build import build
from hydra.engine._receipts import DROPPED
from hydra.queue import Barrier, Entry, WhenFull

pytestmark = pytest.mark.unit

RECORDS: Final = 10
RESERVE: Final = 60
UNIT: Final = 200
BATCH: Final = 3
SPILL_PLACES: Final = 100
POLICIES: Final = get_args(WhenFull)
SHARES: Final = {5: 6, 10: 6, 20: 8}
"""Of ten places, how many a shedding queue lets a level take."""


class Model:
    """What the queue must hold: one element per place, as (kind, key), or None for padding."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.queue: list[Any] = []
        self.spill: list[Any] = []
        self.delivered: list[bytes] = []
        self.held: set[bytes] = set()
        self.drops: Counter[tuple[str, str]] = Counter()
        self.levels: dict[bytes, int] = {}
        self.refusing = False
        self.broken = False
        self.fired: list[int] = []

    def log(self, key: bytes, level: int, places: int) -> bool:
        """Take in one record; return whether it was not refused."""
        self.levels[key] = level
        self.relax()
        record = [("g" if level >= ERROR else "r", key), *[None] * (places - 1)]
        if level >= ERROR or (not self.refusing and len(self.queue) < self.limit(level)):
            self.queue += record
            return True
        match self.policy:
            case "drop_old":
                while len(self.queue) >= RECORDS and self.evict():
                    pass
                if len(self.queue) < RECORDS:
                    self.queue += record
                    return True
            case "spill" if len(self.spill) < SPILL_PLACES:
                self.spill += record
                return True
        self.refusing = self.refusing or self.policy in {"block", "spill"}
        reason = "shed" if self.policy == "shed" and level < WARNING else "queue_full"
        self.drops[level_name(level), reason] += 1
        return False

    def limit(self, level: int) -> int:
        return SHARES.get(level, RECORDS) if self.policy == "shed" else RECORDS

    def relax(self) -> None:
        self.refusing = self.refusing and len(self.queue) > RECORDS // 2

    def evict(self) -> bool:
        """Drop the oldest ordinary record with its places."""
        for place in self.queue:
            if place is not None and place[0] == "r":
                self.drops[level_name(self.levels[place[1]]), "evicted"] += 1
                places = self.sizes[place[1]]
                self.queue.remove(place)
                for _ in range(places - 1):
                    if None in self.queue:
                        self.queue.remove(None)
                return True
        return False

    sizes: dict[bytes, int]

    def barrier(self, number: int) -> None:
        (self.spill or self.queue).append(("b", number))

    def step(self) -> None:
        """Deliver one batch."""
        if not self.queue:
            self.admit()
        taken, self.queue = self.queue[:BATCH], self.queue[BATCH:]
        self.admit()
        for place in taken:
            if place is not None and place[0] != "b":
                self.delivered.append(place[1])
        self.fired += [place[1] for place in taken if place is not None and place[0] == "b"]

    def admit(self) -> None:
        room = max(0, RECORDS - len(self.queue))
        self.queue += self.spill[:room]
        self.spill = self.spill[room:]
        self.relax()

    def write(self) -> None:
        """Have the spill written to the store; with a full disk all stays where it is."""
        if self.broken and any(p is not None and p[0] != "b" for p in self.spill):
            # Padding is put back behind each line, and barriers behind all of them; that
            # of a line which is in the queue already is not.
            while self.spill[0] is None:
                del self.spill[0]
            self.spill.sort(key=lambda place: place is not None and place[0] == "b")
            return
        records = [p for p in self.spill if p is not None and p[0] != "b"]
        self.held.update(key for _, key in records)
        self.queue += [p for p in self.spill if p is not None and p[0] == "b"]
        self.spill = []


class Pair:
    """The engine and the model, moved together."""

    def __init__(self, policy: str) -> None:
        self.taken: list[bytes] = []
        self.fired: list[int] = []
        self.fs = FaultyFilesystem(seed=0)
        destination = DestinationSettings(
            name="app",
            type="sink",
            sink=self.taken.extend,
            batch=BATCH,
            fallback=(FallbackSettings(type="file", path="/model/held/app"),),
        )
        options = Settings(
            app="model",
            level=5,
            destinations=(destination,),
            queue=QueueSettings(
                records=RECORDS,
                reserve=RESERVE,
                bytes=RECORDS * UNIT,
                when_full=policy,  # type: ignore[arg-type]
                block_timeout=0.0,
            ),
            journal=JournalSettings(enabled=False),
            control_records=False,
        )
        self.run = build(
            options,
            system=self.fs.process(1),  # type: ignore[arg-type]
            clock=FakeClock(),
            threaded=False,
            probe=lambda place, _: "no state directory",
        )
        self.service = self.run.services["app"]
        self.writer = self.service.writer
        # An ERROR without a journal would have its caller drain.
        self.service.help = lambda **_: False  # type: ignore[method-assign]
        self.model = Model(policy)
        self.model.sizes = {}

    def log(self, level: int, size: int) -> None:
        run = self.run
        stream = run.route("model", level)
        assert stream is not None
        body = run.encoder.body(
            0, level_tag(level), logger_tag("model"), "m", EMPTY, EMPTY, {"pad": "x" * size}
        )
        key = f"{run.id}.{stream.label}-{stream.issued + 1}".encode()
        places = 1 + (len(body) + len(b',"id":""}\n') + len(key) - 1) // UNIT
        self.model.sizes[key] = places
        expected = self.model.log(key, level, places)
        receipt = stream.send(body, level)
        assert expected == (receipt is not DROPPED)

    def step(self) -> None:
        ticket = self.writer.chain.ticket
        assert ticket.acquire(0)
        self.service._drain(self.writer.chain.sync_tiers, patient=False, replay=False, until=0.0)
        ticket.release()
        self.model.step()

    def fill(self, level: int) -> None:
        """Log until the queue has no place left for ordinary records, or refuses them."""
        for _ in range(RECORDS - len(self.writer.queue.entries)):
            self.log(level, 1)

    def fail(self) -> None:
        """Have the disk of the held store full, or no longer so."""
        self.model.broken = not self.model.broken
        if self.model.broken:
            self.fs.fail("write", errno.ENOSPC, times=None, path="*.held")
        else:
            self.fs.heal()

    def write(self) -> None:
        if self.writer.spiller is not None:
            self.writer.spiller.work()
            self.model.write()

    def barrier(self, number: int) -> None:
        self.writer.barrier(Barrier(lambda: self.fired.append(number)))
        self.model.barrier(number)

    def check(self) -> None:
        model, queue = self.model, self.writer.queue
        assert keys(model.queue) == keys_of(queue.entries)
        assert len(model.queue) == len(queue.entries)
        assert keys(model.spill) == keys_of(queue.spill)
        assert model.delivered == list(map(identify, self.taken))
        assert dict(model.drops) == self.writer.drops.counts()
        assert model.fired == self.fired
        balance = self.writer.balance()
        assert balance.balanced, balance
        assert len(model.held) == self.writer.store.held


def keys(places: list[Any]) -> list[bytes]:
    """Return the keys of the records among *places*."""
    return [place[1] for place in places if place is not None and place[0] != "b"]


def keys_of(entries: deque[Any]) -> list[bytes]:
    """Return the same of a queue."""
    return [
        item.key if isinstance(item, Entry) else identify(item)
        for item in entries
        if isinstance(item, bytes | Entry)
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("log"),
            st.sampled_from((5, 10, 20, 20, 30, 40, 50)),
            st.sampled_from((1, 1, 1, 150, 700)),
        ),
        st.tuples(st.just("fill"), st.sampled_from((30, 30, 40))),
        st.just(("step",)),
        st.just(("step",)),
        st.just(("fail",)),
        st.just(("write",)),
        st.tuples(st.just("barrier"), st.integers(0, 999)),
    ),
    min_size=15,
    max_size=60,
)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_queue_does_as_the_model_says(policy: str, steps: list[tuple[Any, ...]]) -> None:
    """Whatever is logged, taken and spilled, queue, drops and barriers are those of the model."""
    pair = Pair(policy)
    try:
        for name, *arguments in steps:
            getattr(pair, name)(*arguments)
            pair.check()
        while pair.model.queue or pair.model.spill:
            pair.step()
        pair.check()

        assert pair.model.drops.total() == pair.writer.drops.total
    finally:
        pair.run.begin_close()
        pair.run.finish_close(0.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_has_a_row_for_every_thread(policy: str) -> None:
    """What a call may try stands in the table, for each kind of thread."""
    rows = [where for full, where in WAYS if full == policy]

    assert list(Where) == rows


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_waits_on_a_loop(policy: str) -> None:
    """On a thread with a loop a full queue parks, spills or sheds, and an unlet receipt drops."""
    pair = Pair(policy)
    try:
        for _ in range(RECORDS):
            pair.log(30, 1)
        _set_running_loop(object())  # type: ignore[arg-type]
        stream = pair.run.route("model", 30)
        body = pair.run.encoder.body(
            0, level_tag(30), logger_tag("model"), "m", EMPTY, EMPTY, EMPTY
        )
        stream.send(body, 30)
        _set_running_loop(None)
        drops, spilled = pair.writer.drops.counts(), pair.writer.queue.spilling
    finally:
        _set_running_loop(None)
        pair.run.begin_close()
        pair.run.finish_close(0.0)

    expected = ({}, 1) if policy == "spill" else ({("warning", "discarded"): 1}, 0)
    assert expected == (drops, spilled)
