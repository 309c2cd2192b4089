"""
From a destination's settings to its chain.
"""

from __future__ import annotations

import asyncio

import pytest

from fallbacks.batch import Batch
from fallbacks.outcomes import DELIVERED
from fallbacks.system import SYSTEM
from fallbacks.tier import Kind
from fallbacks.tiers import AsyncFileTier, FileTier, StreamTier
from hydra.config import Destination, load
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, LineEncoder, logger_tag
from hydra.sinks import chain_of, render_of

pytestmark = pytest.mark.unit


class Store:
    """Stands for a held store."""

    name, kind = "fallback", Kind.HOLDING

    def write(self, batch):
        return DELIVERED

    def close(self):
        return None


def chained(destination, *, store=True, threads_only=False, asked=None):
    """Return the chain of one destination."""
    settings = load({"app": "t", "destinations": [destination]}).destinations[0]

    def make(fallback, hint, copy=""):
        if asked is not None:
            asked.append((fallback.path, fallback.quota, fallback.reserve, copy))
        return Store() if store else None

    return chain_of(settings, make, system=SYSTEM, threads_only=threads_only)


def shape(found):
    """Return the kinds of tiers in a chain."""
    return [type(tier).__name__ for tier in found.tiers]


def take(lines):
    """Be a sync sink."""
    return


async def atake(lines):
    """Be an async sink."""
    return


@pytest.mark.parametrize(
    ("destination", "tiers", "primaries", "safe", "loop_only"),
    [
        (
            {"type": "file", "path": "/x/a.log"},
            ["AsyncFileTier", "FileTier", "Store", "StreamTier"], 2, (1, 2, 3), False,
        ),
        (
            {"type": "file", "path": "/x/a.log", "writer": "thread"},
            ["FileTier", "Store", "StreamTier"], 1, (0, 1, 2), False,
        ),
        (
            {"type": "file", "path": "/x/a.log", "fallback": []},
            ["AsyncFileTier", "FileTier"], 2, (1,), False,
        ),
        ({"type": "console", "stream": "stdout"}, ["StreamTier", "StreamTier"], 1, (0, 1), False),
        ({"type": "console", "stream": "stderr"}, ["StreamTier"], 1, (0,), False),
        ({"type": "stderr"}, ["StreamTier"], 1, (0,), False),
        (Destination(take), ["CallableTier", "Store", "StreamTier"], 1, (1, 2), False),
        (Destination(atake), ["AsyncCallableTier", "Store", "StreamTier"], 1, (1, 2), True),
        (
            Destination(take, fallback=[{"sink": atake}, {"type": "stderr"}]),
            ["CallableTier", "AsyncCallableTier", "StreamTier", "Store", "Store"],
            1, (2, 3, 4), False,
        ),
        (Destination(take, format="text"), ["_RenderedSync", "Store", "StreamTier"], 1, (1, 2),
         False),
        (Destination(atake, format="text"), ["_RenderedAsync", "Store", "StreamTier"], 1, (1, 2),
         True),
    ],
)  # fmt: skip
def test_standard_chains(destination, tiers, primaries, safe, loop_only):
    """Each type of destination has its chain; foreign code is never run by callers."""
    found = chained(destination)

    assert (tiers, primaries, safe, loop_only) == (
        shape(found),
        found.primaries,
        found.safe,
        found.loop_only,
    )
    assert (found.store is not None) == (tiers.count("Store") > len(found.repairs))


def test_file_and_twin_share_one_path():
    """The async tier and the sync one write to the same file with the same mode."""
    found = chained({"type": "file", "path": "/x/a.log", "mode": "0640"})
    first, twin = found.tiers[:2]

    assert isinstance(first, AsyncFileTier)
    assert isinstance(twin, FileTier)
    assert first.path == twin.path == "/x/a.log"
    assert 0o640 == first._target.mode == twin._target.mode


def test_without_a_place_nothing_holds():
    """Where no held store can be made, the chain goes on to its next tier."""
    found = chained({"type": "file", "path": "/x/a.log"}, store=False)

    assert (["AsyncFileTier", "FileTier", "StreamTier"], None) == (shape(found), found.store)


def test_fallback_file_has_its_own_path_and_quota():
    """What the settings of a fallback file say reaches whoever makes its store."""
    asked = []
    chained(
        {
            "type": "file",
            "path": "/x/a.log",
            "fallback": [{"type": "file", "path": "/y/held", "quota": "1 MiB"}, {"type": "file"}],
        },
        asked=asked,
    )

    assert [("/y/held", 1 << 20, None, ""), None] == [asked[0], asked[1][0]]


def test_console_gives_up_before_it_is_abandoned():
    """A console's own timeout ends before the deadline that would leave it behind."""
    found = chained({"type": "console", "stream": "stdout", "timeout": 2.0})

    assert all(isinstance(tier, StreamTier) and 0 < tier.timeout < 2.0 for tier in found.tiers)


def test_sink_gets_the_format_it_asked_for():
    """A sink with a format of its own gets rendered lines, whichever kind it is."""
    got = []

    async def agot(lines):
        got.extend(lines)

    body = LineEncoder().body(0, level_tag(20), logger_tag("shop"), "hello", EMPTY, EMPTY, {"n": 1})
    batch = Batch([body + b',"id":"k3f9x2ab71qz.1r-1"}\n'])
    plain = chained(Destination(got.extend, format="text")).tiers[0]
    other = chained(Destination(agot, format="text")).tiers[0]

    assert DELIVERED == plain.write(batch)
    assert DELIVERED == asyncio.run(other.write(batch))
    assert got[0] == got[1]
    assert got[0].endswith(b"\n")
    assert b"hello" in got[0]
    assert not got[0].startswith(b"{")
    asyncio.run(other.aclose())
    plain.close()


def test_json_is_the_line_itself():
    """For JSON there is nothing to render."""
    assert render_of("json", color=False) is None
    assert callable(render_of("text", color=True))


COPIES = Destination(
    take,
    strategy="mirror",
    fallback=[
        {"type": "file", "path": "/y/copy.log", "hold": False},
        {"type": "file", "path": "/y/held"},
        {"sink": atake},
        {"type": "stderr"},
    ],
)


def test_copies_and_their_repair_stores():
    """
    The destination, a file that does not hold and a sink are a copy each; standard error is
    none; each copy has a store, behind all other tiers and next to the held files.
    """
    asked = []
    found = chained(COPIES, asked=asked)

    assert ((0,), (1, 2), (4,)) == found.copies
    assert {0: 6, 1: 7, 2: 8} == found.repairs
    assert ["Store", "StreamTier", "Store", "Store", "Store"] == [
        shape(found)[index] for index in (3, 5, 6, 7, 8)
    ]
    assert [("/y/held", copy) for copy in ("", "take", "copy-c51e542c", "atake")] == [
        (path, copy) for path, _, _, copy in asked
    ]


def test_name_of_a_copy_does_not_depend_on_its_place():
    """
    What a copy missed is found again after its fallbacks were put in another order.
    """
    asked, turned = [], []
    options = COPIES.options | {"fallback": [*reversed(COPIES.options["fallback"])]}
    chained(COPIES, asked=asked)
    chained(options, asked=turned)

    assert {copy for *_, copy in asked} == {copy for *_, copy in turned}


def test_copies_of_one_name_are_told_apart():
    """
    Two sinks that are called the same are two copies.
    """
    asked = []
    chained(Destination(take, fallback=[{"sink": take}, {"sink": take}]), asked=asked)

    assert ["take", "take-2", "take-3"] == [copy for *_, copy in asked]


@pytest.mark.parametrize(
    ("strategy", "loop_only"),
    [("failover", False), ("spool", False), ("mirror", True), ("fastest", True), ("quorum", True)],
)
def test_async_copy_needs_the_loop(strategy, loop_only):
    """
    A strategy that asks every copy cannot do on a thread what only a loop can.
    """
    fallback = [{"sink": atake}, {"type": "file"}]
    found = chained({"path": "/x/a.log", "strategy": strategy, "fallback": fallback})

    assert loop_only is found.loop_only
