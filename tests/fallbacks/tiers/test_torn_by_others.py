"""
Telling a line that a dead process left torn from one that a living process is writing.
"""

from __future__ import annotations

import os

import pytest

from fallbacks.batch import Batch
from fallbacks.files import ends_torn
from fallbacks.testing.faulty_filesystem import FaultyFilesystem
from fallbacks.tiers import FileTier

pytestmark = pytest.mark.unit


def append(system, data):
    """Have another process append *data*."""
    other = system.process(7)
    fd = other.open("/a.log", os.O_WRONLY | os.O_APPEND)
    other.write(fd, data)
    other.close(fd)


class Sibling(FaultyFilesystem):
    """A file system on which somebody else goes on writing when it is waited for."""

    def __init__(self, pieces):
        super().__init__()
        self.pieces = list(pieces)
        self.waited = 0

    def await_writers(self, fd):
        self.waited += 1
        if self.pieces:
            append(self, self.pieces.pop(0))


@pytest.mark.parametrize(
    ("start", "pieces", "torn", "waited"),
    [
        (b"", [], False, 0),
        (b"whole\n", [], False, 0),
        (b"whole\nto", [], True, 1),
        (b"whole\nwri", [b"ting\n"], False, 1),
        (b"whole\nwri", [b"ti", b"ng\n"], False, 2),
        (b"whole\nwri", [b"tingan"], True, 2),
        (b"whole\nx", [b"x"] * 100, False, 8),
    ],
)
def test_only_an_end_that_stays_is_torn(start, pieces, torn, waited):
    """A missing newline counts when the file has not grown while writers came to an end."""
    system = Sibling(pieces)
    system.put("/a.log", start)

    assert torn is ends_torn(system, "/a.log", len(start))
    assert waited == system.waited


def test_nobody_else_writing_costs_no_look():
    """While the file ends where our own last write ended, it is not opened for a look."""
    system = FaultyFilesystem()
    tier = FileTier("/a.log", system=system)
    tier.write(Batch([b"one\n"]))
    before = system.calls["open"]
    for _ in range(10):
        tier.write(Batch([b"more\n"]))

    assert before == system.calls["open"]

    append(system, b"torn")
    tier.write(Batch([b"last\n"]))

    assert system.read("/a.log").endswith(b"more\ntorn\nlast\n")
