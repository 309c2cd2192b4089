"""
What the tests of the call path share: sinks to look into, and the ledger to be checked.

Rule 1: what was logged is told from the lines that a sink took and from the drops
that the engine declares, never from what the test believes it logged.
Rule 2: a sink that hangs does so until it is told to go on; nothing sleeps.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import hydra
from hydra.engine import ENGINE

LEDGER = "hydra.ledger"
PATIENCE = 20.0
"""Seconds after which a test gives up waiting for something that takes milliseconds."""


class Sink:
    """
    A sink that keeps its lines, and can be closed like a tap.

    While it is shut, the writer hangs in the call; `stuck` says when it does.
    """

    def __init__(self, *, shut: bool = False) -> None:
        self.lines: list[bytes] = []
        self.stuck = threading.Event()
        self._open = threading.Event()
        if not shut:
            self._open.set()

    def __call__(self, lines: list[bytes]) -> None:
        if not self._open.is_set():
            self.stuck.set()
            self._open.wait(60)
        self.lines += lines

    def shut(self) -> None:
        """Hang from the next write on."""
        self.stuck.clear()
        self._open.clear()

    def open(self) -> None:
        """Let what hangs go on, and take everything from now on."""
        self._open.set()

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the application logged, in the order of its arrival."""
        return [each for each in map(json.loads, self.lines) if each["logger"] != LEDGER]

    @property
    def controls(self) -> list[dict[str, Any]]:
        """The control records."""
        return [each for each in map(json.loads, self.lines) if each["logger"] == LEDGER]

    @property
    def messages(self) -> list[str]:
        """The messages of `records`."""
        return [each["message"] for each in self.records]


def destination(sink: Callable[..., object], name: str = "app", **more: object) -> dict[str, Any]:
    """Return a destination that has *sink* and no fallback, so that what fails there is seen."""
    return {"name": name, "type": "sink", "sink": sink, "fallback": [], "timeout": 30.0} | more


def configure(*sinks: Callable[..., object], **options: object) -> None:
    """Configure one destination per sink: app, app1, app2; every level passes."""
    names = ["app", *(f"app{n}" for n in range(1, len(sinks)))]
    destinations = [destination(sink, name) for sink, name in zip(sinks, names, strict=True)]
    hydra.configure(**{"level": "trace", "destinations": destinations} | options)


class Between:
    """
    The numbers of a stream, where something happens before the first one is taken.

    To a call that is past the question whether its run is in force, it happens
    as in another thread.
    """

    def __init__(self, stream, happen):
        self._numbers = stream.numbers
        self.to_happen = [happen]

    def __iter__(self):
        return self

    def __next__(self):
        if self.to_happen:
            self.to_happen.pop()()
        return next(self._numbers)

    def __repr__(self):
        return repr(self._numbers)


def block_writer(sink: Sink, log: hydra.Logger) -> None:
    """Have the writer hang in *sink* with one record in its hands and an empty queue."""
    sink.shut()
    log.info("hostage")
    assert sink.stuck.wait(PATIENCE)


def quiet() -> hydra.Stats:
    """Drain everything; return the stats after checking that the ledger balances."""
    hydra.flush(PATIENCE)
    return balanced(hydra.stats())


def closed() -> hydra.Stats:
    """Close; return the stats after checking that the ledger balances."""
    return balanced(hydra.close(PATIENCE))


def balanced(stats: hydra.Stats) -> hydra.Stats:
    """Return *stats* if every destination accounts for everything and no writer has crashed."""
    for found in stats.destinations.values():
        assert 0 == found.lost, found
        assert 0 == found.crashes, found
        assert found.accepted == found.delivered + found.dropped + found.pending, found
    assert stats.balanced
    return stats


def proven(lines: list[bytes], stream_of: str | None = None) -> dict[str, int]:
    """
    Return the highest number of each stream, after proving that none is missing unannounced.

    Args:
        lines: Everything one destination took, its close record included.
        stream_of: Look at the streams of this run only.
    """
    have: dict[str, set[int]] = defaultdict(set)
    absent: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    totals: dict[str, int] = {}
    for line in map(json.loads, lines):
        run, _, rest = line["id"].partition(".")
        if stream_of is not None and run != stream_of:
            continue
        label, _, number = rest.rpartition("-")
        assert int(number) not in have[label], f"{line['id']} arrived twice"
        have[label].add(int(number))
        if line["logger"] == LEDGER and line["event"] == "close":
            totals = line["totals"]
        elif line["logger"] == LEDGER:
            for drop in line["drops"]:
                absent[drop["stream"]].append((drop["from"], drop["to"], drop["count"]))
    for label, last in totals.items():
        missing = set(range(1, last + 1)) - have[label]
        declared = sum(count for _, _, count in absent[label])
        assert len(missing) == declared, (label, sorted(missing)[:10], absent[label])
        for number in missing:
            assert any(first <= number <= to for first, to, _ in absent[label]), (label, number)
    return totals


def run_id() -> str:
    """Return the id of the run in force."""
    assert ENGINE.run is not None
    return ENGINE.run.id
