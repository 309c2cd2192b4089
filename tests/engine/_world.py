"""
A run whose file system, clock and tiers are a test's: nothing waits, nothing is real.
"""

from __future__ import annotations

from fallbacks import Retryable
from fallbacks.testing import FakeClock, FaultyTier
from fallbacks.testing.faulty_filesystem import FaultyFilesystem
from hydra.config import load
from hydra.engine._build import build
from hydra.engine._reading import read
from tests.sinks._kit import numbers, records

DOWN = Retryable("down")


class World:
    """A run with one destination, its copies, and a file system and a clock of its own."""

    def __init__(
        self, strategy, *, copies=2, hold=True, sinks=None, system=None, settings=None, **options
    ):
        self.sinks = sinks or [FaultyTier(name=f"copy{n}") for n in range(copies)]
        self.clock = FakeClock()
        self.system = system or FaultyFilesystem()
        fallback = [{"sink": sink} for sink in self.sinks[1:]]
        fallback += [{"type": "file", "path": "/held/app"}] if hold else []
        loaded = load(
            {
                "app": "t",
                "journal": {"enabled": options.pop("journal", False), "dir": "/journal"},
                "control_records": options.pop("control_records", False),
                "destinations": [
                    {
                        "name": "app", "strategy": strategy, "fallback": fallback, "retries": 0,
                        **({} if "path" in options else {"sink": self.sinks[0]}), **options,
                    }
                ],
                **(settings or {}),
            }
        )  # fmt: skip
        self.run = build(
            loaded, system=self.system, clock=self.clock, threaded=False, probe=lambda *_: "no"
        )
        self.service = self.run.services["app"]
        self.writer = self.service.writer
        self._count = 0
        self._killed = False

    def log(self, count=1, *, level=20):
        """Send records; return the receipt of the last one."""
        receipt = None
        for _ in range(count):
            word = "error" if level >= 40 else "info"
            body = (
                '{"timestamp":"2026-01-01T00:00:00.000000Z",'
                f'"level":"{word}","logger":"s","n":{self._count}'
            ).encode()
            self._count += 1
            stream = self.run.stream(("app",), guaranteed=level >= 40)
            receipt = stream.send(body, level, tracked=True)
        return receipt

    def pump(self, times=1, seconds=40.0):
        """Do what there is to do; then let the longest rest pass, and again."""
        for _ in range(times):
            self.service.pump()
            self.clock.advance(seconds)

    @property
    def stats(self):
        """What the destination says."""
        return read([self.run]).destinations["app"]

    def got(self, copy):
        """Return the numbers that a copy has."""
        return numbers(records(self.sinks[copy].taken))

    def check(self, **expected):
        """Compare with the stats; the ledger has to balance as well."""
        stats = self.stats

        assert stats.lost == 0
        assert expected == {name: getattr(stats, name) for name in expected}

    def file(self, path="/logs/app.log"):
        """Return the records of a file."""
        return records(self.system.read(path).splitlines())

    def kill(self):
        """Have the process die: what it has written stays."""
        self._killed = True
        self.system.die()

    def close(self):
        """End the run, unless it was killed."""
        if self._killed:
            return
        if isinstance(self.system, FaultyFilesystem):
            self.system.heal()
        self.run.begin_close()
        self.run.finish_close(0.0)
