"""
The compiled call path, for tests of it: whether it is there, and what took it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import hydra
from hydra.engine import ENGINE, _compiled, _route

needs_compiled = pytest.mark.skipif(
    not _compiled.COMPILED,
    reason="the call path is not compiled here (HYDRA_PURE_PYTHON, or nothing to build it with)",
)
"""Marks what there is to test in a process with the compiled call path only."""


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Have the messages listed that compiled routes leave to the Python function."""
    left: list[object] = []
    real = _route.front

    def front(route, stream, level, middle):
        def careful(log, message, args, fields):
            left.append(message)
            return route(log, message, args, fields)

        return real(careful, stream, level, middle)

    with monkeypatch.context() as patch:
        patch.setattr(_route, "front", front)
        yield left


def set_clock(log: hydra.Logger, time_ns: Callable[[], int]) -> None:
    """Have the run in force take its time from *time_ns*, and *log* make its routes again."""
    ENGINE.run.time_ns = time_ns
    log._routes.by_level.clear()
