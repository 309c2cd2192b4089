from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import Outcome
from fallbacks.position import Position
from fallbacks.tiers import AsyncFileTier, FileTier


def batch_of(*lines: str) -> Batch:
    """Return a batch of *lines*, each given its newline."""
    return Batch([line.encode() + b"\n" for line in lines])


class Appender:
    """One face for both file tiers, so that each situation is tried on both."""

    def __init__(self, tier: FileTier | AsyncFileTier, run: Callable[[Any], Any]) -> None:
        self.tier = tier
        self._run = run

    def write(self, *lines: str) -> Outcome:
        return self._finish(self.tier.write(batch_of(*lines)))

    def scan(self, ids: set[bytes], since: Position | None, identify: Any) -> set[bytes]:
        return self._finish(self.tier.scan(ids, since, identify))

    def position(self) -> Position | None:
        return self.tier.position()

    def close(self) -> None:
        self._finish(
            self.tier.aclose() if isinstance(self.tier, AsyncFileTier) else self.tier.close()
        )

    def _finish(self, answer: Any) -> Any:
        return self._run(answer) if isinstance(self.tier, AsyncFileTier) else answer


@pytest.fixture(params=["sync", "async"])
def appender(request: pytest.FixtureRequest) -> Iterator[Callable[..., Appender]]:
    """Return a maker of file tiers, which are closed after the test."""
    made: list[Appender] = []
    with asyncio.Runner() as runner:

        def make(path: str | os.PathLike[str], **options: Any) -> Appender:
            kind = AsyncFileTier if request.param == "async" else FileTier
            made.append(Appender(kind(path, **options), runner.run))
            return made[-1]

        yield make
        for one in made:
            one.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the path of a log file that is not there yet."""
    return tmp_path / "app.log"
