"""
A day without the destination: what is held, what is declared, and how it comes back.

    python -m benchmarks.outage [--hours 24] [--rate 1000] [--quota "1 GiB"]

The engine runs as it is, on real files in a directory of its own, but on a fake clock
and without threads: a day passes in minutes. Every record goes through the queue, the
chain, the held store and back. The destination is a sink that fails for the whole time;
then it takes a given number of lines per second, while new records go on coming. It
checks what it gets: order, duplicates, and how long each new record took to get there.
Exit status 1 says that a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fallbacks.system import SYSTEM, System
from fallbacks.testing import FakeClock
from hydra.config import load
from hydra.config._values import size as parse_size
from hydra.core.ids import identify, parse_id
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, logger_tag
from hydra.engine._build import build
from hydra.engine._jobs import JobKind
from hydra.queue import Barrier

INFO, DEBUG, ERROR = 20, 10, 40
HOUR: Final = 3600.0
_SHOP: Final = logger_tag("shop")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens; rates are records (or lines) per second of the fake clock."""

    hours: float = 24.0
    rate: float = 1000.0
    quota: int = 1 << 30
    errors: int = 1000
    """One record in so many is an ERROR."""
    step: float = 4.0
    """Seconds between two looks at the clock while the destination is down."""
    live_rate: float = 1000.0
    """New records while it comes back."""
    bandwidth: float = 20_000.0
    """Lines that it takes then."""
    per_call: float = 0.005
    """Seconds for each call on top of that."""
    timeout: float = 5.0
    replay_rate: int | None = None
    quiet_after: float = 5.0
    """Seconds for which new records go on coming after all has been replayed."""


@dataclass(slots=True)
class Received:
    """Numbers of one stream as they came, as intervals; they must only ever go up."""

    spans: list[list[int]] = field(default_factory=list)
    disorder: int = 0

    def add(self, number: int) -> None:
        spans = self.spans
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        elif spans and number <= spans[-1][1]:
            self.disorder += 1
        else:
            spans.append([number, number])

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self.spans)


@dataclass(slots=True)
class Moment:
    """The state of things at one time."""

    hour: float
    offered: int
    rss: int
    held: int
    bytes: int
    dropped: int


class Outage:
    """One run of a scenario. `run` yields a `Moment` each hour and one at the end."""

    def __init__(
        self, scenario: Scenario, directory: str, *, system: System = SYSTEM,
        keep: Callable[[bytes], object] = lambda _: None,
    ) -> None:  # fmt: skip
        self.scenario = scenario
        self.clock = FakeClock()
        self.up = False
        self.keep = keep
        self.replayed: defaultdict[str, Received] = defaultdict(Received)
        self.live: defaultdict[str, Received] = defaultdict(Received)
        self.declared: list[dict[str, Any]] = []
        self.offered = 0
        self.worst = 0.0
        self.healed_at = self.replayed_at = 0.0
        self._sent_at: dict[tuple[str, int], float] = {}
        self._due = 0.0
        self._live_until = float("inf")
        self._began = self.clock.monotonic()
        settings = load(
            {
                "app": "day",
                "level": "debug",
                "state_dir": os.path.join(directory, "state"),
                "destinations": [
                    {
                        "name": "collector",
                        "type": "sink",
                        "sink": self._take,
                        "timeout": scenario.timeout,
                        "replay_rate": scenario.replay_rate,
                        "fallback": [
                            {
                                "type": "file",
                                "path": os.path.join(directory, "held", "collector"),
                                "quota": scenario.quota,
                            }
                        ],
                    }
                ],
            }
        )
        self.engine = build(settings, system=system, clock=self.clock, threaded=False)
        self.service = self.engine.services["collector"]
        self.writer = self.service.writer
        self._ordinary = self.engine.stream(("collector",), guaranteed=False)
        self._guaranteed = self.engine.stream(("collector",), guaranteed=True)

    # -- the application

    def _send(self, count: int) -> None:
        """Log *count* records, at the time that the clock shows."""
        scenario, now = self.scenario, self.clock.monotonic()
        body, stamp = self.engine.encoder.body, self.clock.time_ns()
        bodies = {
            level: body(
                stamp, level_tag(level), _SHOP, "order placed", EMPTY, EMPTY,
                {"order_id": self.offered, "user": "alice", "path": "/api/v1/orders"},
            )
            for level in (DEBUG, INFO, ERROR)
        }  # fmt: skip
        for n in range(self.offered, self.offered + count):
            if n % scenario.errors == 0:
                stream, level = self._guaranteed, ERROR
            else:
                stream, level = self._ordinary, DEBUG if n % 3 == 0 else INFO
            stream.send(bodies[level], level)
            if self.up:
                self._sent_at[stream.label, stream.issued] = now
        self.offered += count

    def _send_due(self) -> None:
        """Log what the time that has passed has made due."""
        store = self.writer.store
        assert store is not None
        if not store.waiting and not self.replayed_at:
            self.replayed_at = self.clock.monotonic()
            self._live_until = self.replayed_at + self.scenario.quiet_after
        now = min(self.clock.monotonic(), self._live_until)
        count = int((now - self._due) * self.scenario.live_rate)
        if count:
            self._due += count / self.scenario.live_rate
            self._send(count)

    # -- the destination

    def _take(self, lines: list[bytes]) -> None:
        if not self.up:
            raise ConnectionRefusedError("down")
        scenario = self.scenario
        self.clock.advance(scenario.per_call + len(lines) / scenario.bandwidth)
        now = self.clock.monotonic()
        job = self.writer.job
        replay = job is not None and job.kind is JobKind.REPLAY
        for line in lines:
            self.keep(line)
            found = parse_id(identify(line) or b"")
            assert found is not None
            where = self.replayed if replay else self.live
            where[found.stream].add(found.n)
            if found.lane == "c":
                record = json.loads(line)
                self.declared += record["drops"] if record["event"] == "drops" else ()
            sent_at = self._sent_at.pop((found.stream, found.n), None)
            if sent_at is not None and not replay:
                self.worst = max(self.worst, now - sent_at)
        # Time has passed, and the application has not stood still.
        self._send_due()

    # -- the course of things

    def run(self) -> Iterator[Moment]:
        scenario, clock = self.scenario, self.clock
        per_step = round(scenario.rate * scenario.step)
        steps = round(scenario.hours * HOUR / scenario.step)
        per_hour = max(1, round(HOUR / scenario.step))
        for number in range(steps):
            if number % per_hour == 0:
                yield self._moment()
            self._send(per_step)
            self.service.pump()
            if number % per_hour == 0:
                # As the journal's thread does, only more often.
                self.engine.keeper.tend()
            clock.advance(scenario.step)
        yield self._moment()
        self.up = True
        self.healed_at = self._due = clock.monotonic()
        while clock.monotonic() < self._live_until:
            self._send_due()
            self.service.pump()
            clock.advance(min(0.1, self.writer.wait() or 0.1))
        self._send_due()
        # A flush, and a clean close, write down whatever is not declared yet.
        self.writer.barrier(Barrier(lambda: None))
        self.service.pump()
        self.engine.begin_close()
        # As the writer's thread does; nobody else may call a sink.
        self.service.chain.ticket.acquire()
        self.service._close_now(self.service.chain.sync_tiers)
        self.engine.finish_close(0.0)
        yield self._moment()

    def _moment(self) -> Moment:
        store = self.writer.store
        assert store is not None
        found = store.statistics()
        return Moment(
            (self.clock.monotonic() - self._began) / HOUR,
            self.offered, _rss(), found.held, found.bytes, self.writer.drops.total,
        )  # fmt: skip

    # -- what is asked of it

    def checks(self) -> dict[str, tuple[bool, str]]:
        """Return whether each promise was kept, and the numbers behind it."""
        ordinary, grave = self._ordinary, self._guaranteed
        streams = (ordinary, grave)
        got = {s.label: self.replayed[s.label].count + self.live[s.label].count for s in streams}
        disorder = sum(r.disorder for r in (*self.replayed.values(), *self.live.values()))
        twice = sum(
            _common(self.replayed[s.label].spans, self.live[s.label].spans) for s in streams
        )
        declared = sum(r["count"] for r in self.declared)
        missing = sum(s.issued - got[s.label] for s in streams)
        reasons = {r["reason"] for r in self.declared}
        told = [[r["from"], r["to"]] for r in self.declared if r["stream"] == ordinary.label]
        got_or_told = [
            *self.replayed[ordinary.label].spans,
            *self.live[ordinary.label].spans,
            *told,
        ]
        undeclared = list(_gaps(got_or_told, ordinary.issued))
        balance = self.writer.balance()
        return {
            "declared": (
                declared == missing == balance.dropped and not undeclared and reasons <= {"quota"},
                (
                    f"{missing:,} not delivered, {declared:,} declared by "
                    f"{len(self.declared):,} ranges ({', '.join(sorted(reasons)) or 'none'})"
                ),
            ),
            "guaranteed whole": (
                got[grave.label] == grave.issued,
                f"{got[grave.label]:,} of {grave.issued:,} records of level error",
            ),
            "replay in order": (
                disorder == 0,
                (
                    f"{sum(r.count for r in self.replayed.values()):,} lines replayed, "
                    f"{disorder} out of order"
                ),
            ),
            "no duplicate": (twice == 0, f"{twice} ids twice"),
            "new records in time": (
                self.worst <= self.scenario.timeout,
                (
                    f"the slowest took {self.worst:.3f} s of {self.scenario.timeout:g} s, while it "
                    f"replayed for {self.replayed_at - self.healed_at:.0f} s"
                ),
            ),
            "ledger": (
                balance.balanced and balance.pending == 0,
                (
                    f"{balance.routed:,} = {balance.delivered:,} delivered + {balance.dropped:,} "
                    f"dropped + {balance.pending:,} pending"
                ),
            ),
        }


def _gaps(spans: list[list[int]], last: int) -> Iterator[tuple[int, int]]:
    """Yield what of 1 to *last* is in none of *spans*."""
    at = 1
    for first, end in sorted(spans):
        if first > at:
            yield at, first - 1
        at = max(at, end + 1)
    if at <= last:
        yield at, last


def _common(one: list[list[int]], other: list[list[int]]) -> int:
    """Return how many numbers are in both."""
    return sum(
        max(0, min(last, end) - max(first, start) + 1)
        for first, last in one
        for start, end in other
    )


def _rss() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE


def main(arguments: list[str]) -> int:
    """Run it, print a table, and say whether every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="records per second")
    parser.add_argument("--quota", default="1 GiB")
    parser.add_argument("--replay-rate", type=int, default=None, help="held records per second")
    given = parser.parse_args(arguments)
    scenario = Scenario(
        hours=given.hours,
        rate=given.rate,
        quota=parse_size(1)(given.quota),
        replay_rate=given.replay_rate,
    )
    directory = tempfile.mkdtemp(prefix="hydra-outage-")
    began = perf_counter()
    print(
        f"{given.hours:g} h without the destination, {given.rate:g} records/s, {given.quota} quota"
    )
    print("  hour      offered   RSS MiB         held   held MiB      dropped   took s")
    try:
        outage = Outage(scenario, directory)
        moments = []
        for m in outage.run():
            moments.append(m)
            print(
                f"{m.hour:6.2f} {m.offered:12,} {m.rss / 2**20:9.1f} {m.held:12,}"
                f" {m.bytes / 2**20:10.1f} {m.dropped:12,} {perf_counter() - began:8.0f}",
                flush=True,
            )
        rows = outage.checks()
    finally:
        shutil.rmtree(directory)
    warm, top = moments[1].rss, max(m.rss for m in moments)
    rows["memory flat"] = (
        top - warm < 32 << 20,
        f"{warm / 2**20:.1f} MiB after the first hour, {top / 2**20:.1f} MiB at most",
    )
    rows["quota kept"] = (
        max(m.bytes for m in moments) <= scenario.quota + 4096,
        f"{max(m.bytes for m in moments) / 2**20:.1f} MiB of {scenario.quota / 2**20:.1f} MiB",
    )
    for name, (kept, said) in rows.items():
        print(f"{'ok  ' if kept else 'FAIL'} {name:<20} {said}")
    return 0 if all(kept for kept, _ in rows.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
