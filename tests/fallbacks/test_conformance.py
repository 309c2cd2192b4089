from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fallbacks import (
    DELIVERED,
    Batch,
    Delivered,
    HeldStore,
    Kind,
    Partial,
    Permanent,
    Retryable,
    Unknown,
)
from fallbacks.testing import (
    HANG,
    FaultyAsyncTier,
    FaultyTier,
    Nonconforming,
    check_tier,
    tier_cases,
)
from fallbacks.tiers import (
    AsyncCallableTier,
    AsyncFileTier,
    CallableTier,
    FileTier,
    MemoryTier,
    StreamTier,
)

pytestmark = pytest.mark.integration

HOOKS: dict[str, Any] = {
    "received": lambda tier: tier.taken,
    "fail": lambda tier: tier.fail_with(OSError("down")),
    "hang": lambda tier: tier.fail_with(HANG),
    "heal": lambda tier: tier.heal(),
}
CASES = {case.name: case for case in tier_cases()}


def _read(path: str | Path) -> list[bytes]:
    try:
        return Path(path).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Iterator[Any]:
    numbers = iter(range(10_000))
    return lambda: str(tmp_path / f"log.{next(numbers)}")


# Our own tiers.


@pytest.mark.parametrize("case", tier_cases(), ids=str)
@pytest.mark.parametrize("kind", [FileTier, AsyncFileTier])
def test_file_tiers_conform(kind: Any, case: Any, tmp_path: Path) -> None:
    """
    Both file tiers keep each rule, with a directory in their way as a failing disk.
    """
    path = tmp_path / "logs" / "app.log"

    def fail(tier: Any) -> None:
        if path.exists():
            path.rename(tmp_path / "moved")
        path.mkdir(parents=True)

    def heal(tier: Any) -> None:
        if path.is_dir():
            path.rmdir()

    check_tier(
        lambda: kind(path),
        received=lambda _: _read(tmp_path / "moved") + ([] if path.is_dir() else _read(path)),
        fail=fail,
        heal=heal,
        cases=[case],
    )


def test_stream_tier_conforms(tmp_path: Path) -> None:
    """
    The console tier keeps the rules on a redirected descriptor.
    """
    path = tmp_path / "redirected"
    number = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        verdict = check_tier(lambda: StreamTier(number), received=lambda _: _read(path))
    finally:
        os.close(number)

    assert "acknowledgement" in verdict.holds


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_callable_tiers_conform(kind: str) -> None:
    """
    A function or coroutine function that does what it says makes a tier that keeps the rules.
    """
    sink: dict[str, Any] = {"lines": [], "error": None}

    def take(lines: list[bytes]) -> None:
        if sink["error"]:
            raise sink["error"]
        sink["lines"] += lines

    async def atake(lines: list[bytes]) -> None:
        await asyncio.sleep(0)
        take(lines)

    verdict = check_tier(
        lambda: CallableTier(take) if kind == "sync" else AsyncCallableTier(atake),
        received=lambda _: sink["lines"],
        fail=lambda _: sink.update(error=ConnectionError("down")),
        heal=lambda _: sink.update(error=None),
    )

    assert {"failure", "healing"} <= set(verdict.holds)
    assert (kind == "async") is ("cancellation" in verdict.holds)


def test_memory_tier_conforms() -> None:
    """
    The memory tier keeps the rules while it has room.
    """
    verdict = check_tier(lambda: MemoryTier(2000), received=lambda tier: tier.lines)

    assert "needs fail" == verdict.untried["failure"]


def test_held_store_conforms(path: Any) -> None:
    """
    The held store is a tier like any other; what it holds is what it has received.
    """

    def make() -> HeldStore:
        return HeldStore(
            path(), app="a", destination="d", run="r", weigh=lambda _: 1,
            identify=lambda line: line[line.rfind(b'"id"') :] if line.endswith(b"}\n") else None,
        )  # fmt: skip

    def received(store: HeldStore) -> list[bytes]:
        chunk = store.lines(10_000, 1 << 30)
        return [] if chunk is None else list(chunk.lines)

    verdict = check_tier(make, received=received)

    assert "order" in verdict.holds


@pytest.mark.parametrize("kind", [FaultyTier, FaultyAsyncTier])
def test_everything_can_be_tried(kind: Any) -> None:
    """
    With all it can be told, the check leaves out only what is for the other kind of tier.
    """
    verdict = check_tier(kind, **HOOKS)
    others = {"cancellation", "free loop"} if kind is FaultyTier else {"late answer", "any thread"}

    assert others == set(verdict.untried)
    assert set(CASES) - others == set(verdict.holds)


# Tiers that break a rule.


class Honest:
    """A sync tier that keeps every rule; each bad one breaks one."""

    name = "honest"
    kind = Kind.FINAL

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.error: BaseException | None = None
        self.free = threading.Event()
        self.free.set()

    def fail_with(self, step: object) -> None:
        if step is HANG:
            self.free.clear()
        else:
            self.error = step  # type: ignore[assignment]

    def heal(self) -> None:
        self.error = None
        self.free.set()

    def write(self, batch: Batch) -> Any:
        self.free.wait()
        if self.error is not None:
            raise self.error
        self.taken += batch.lines
        return DELIVERED

    def close(self) -> None:
        pass


class AsyncHonest(Honest):
    """The same for a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.close = None  # type: ignore[assignment, method-assign]
        del self.close

    def __getattribute__(self, name: str) -> Any:
        if name == "close":
            raise AttributeError(name)
        return super().__getattribute__(name)

    async def write(self, batch: Batch) -> Any:
        while not self.free.is_set():
            await asyncio.sleep(0.001)
        return super().write(batch)

    async def aclose(self) -> None:
        pass


class Swallows(Honest):
    def write(self, batch: Batch) -> Any:
        try:
            return super().write(batch)
        except OSError:
            return DELIVERED


class AcknowledgesTwice(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(batch)
        return Partial([*range(len(batch)), 0]) if len(batch) else DELIVERED


class AcknowledgesTooMuch(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(batch)
        return Delivered(prefix=len(batch) + 1)


class LosesTheLast(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(Batch(batch.lines[:-1]))
        return DELIVERED


class SaysTooLittle(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(batch)
        return Delivered(prefix=1) if len(batch) else DELIVERED


class RepeatsLines(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(batch)
        return super().write(batch)


class CutsLargeLines(Honest):
    def write(self, batch: Batch) -> Any:
        return super().write(Batch([line[:4096] for line in batch]))


class Cleans(Honest):
    def write(self, batch: Batch) -> Any:
        return super().write(Batch([line.replace(b"\x1b", b"") for line in batch]))


class ReturnsNone(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(batch)


class WaitsForNothing(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(batch)
        return Delivered(prefix=None) if self.error is None else None


class AsksForNoTime(Honest):
    def write(self, batch: Batch) -> Any:
        if self.error is not None:
            return Retryable("busy", after=-1)
        return super().write(batch)


class RaisesAtStart(Honest):
    down = False

    def __init__(self) -> None:
        if type(self).down:
            raise ConnectionError("nobody there")
        super().__init__()

    def fail_with(self, step: object) -> None:
        super().fail_with(step)
        type(self).down = True

    def heal(self) -> None:
        super().heal()
        type(self).down = False


class ThreadAtStart(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.stop.wait, daemon=True)
        self.thread.start()
        STARTED.append(self)

    def close(self) -> None:
        self.stop.set()


STARTED: list[Any] = []


class LeaksAThread(ThreadAtStart):
    def __init__(self) -> None:
        Honest.__init__(self)

    def write(self, batch: Batch) -> Any:
        if not hasattr(self, "stop"):
            ThreadAtStart.__init__(self)
        return super().write(batch)

    def close(self) -> None:
        pass


class Reorders(Honest):
    def write(self, batch: Batch) -> Any:
        return super().write(Batch(batch.lines[::-1]))


class Mutates(Honest):
    def write(self, batch: Batch) -> Any:
        answer = super().write(batch)
        if isinstance(batch.lines, list):
            batch.lines.sort(reverse=True)
        return answer


class RefusesDuplicates(Honest):
    def write(self, batch: Batch) -> Any:
        return Permanent("had it") if batch.duplicate else super().write(batch)


class ChokesOnNothing(Honest):
    def write(self, batch: Batch) -> Any:
        assert batch[0]
        return super().write(batch)


class ChokesOnMany(Honest):
    def write(self, batch: Batch) -> Any:
        return Permanent("too many") if len(batch) > 500 else super().write(batch)


class StaysBroken(Honest):
    def write(self, batch: Batch) -> Any:
        try:
            return super().write(batch)
        except OSError as error:
            self.heal = lambda: None  # type: ignore[method-assign]
            raise OSError("broken for good") from error


class LiesWhenLate(Honest):
    def write(self, batch: Batch) -> Any:
        if not self.free.is_set():
            self.free.wait()
            return DELIVERED
        return super().write(batch)


class Prints(Honest):
    def write(self, batch: Batch) -> Any:
        print("writing", file=sys.stderr)
        return super().write(batch)


class Logs(Honest):
    def write(self, batch: Batch) -> Any:
        logging.getLogger("sink").warning("writing")
        return super().write(batch)


class BoundToAThread(Honest):
    # As a connection of sqlite3 is.
    home: threading.Thread | None = None

    def write(self, batch: Batch) -> Any:
        if self.home is None:
            self.home = threading.current_thread()
        if self.home is not threading.current_thread():
            raise RuntimeError("made in another thread")
        return super().write(batch)


class ClosesOnce(Honest):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise ValueError("closed already")
        self.closed = True


class LosesAfterClose(Honest):
    closed = False

    def write(self, batch: Batch) -> Any:
        return DELIVERED if self.closed else super().write(batch)

    def close(self) -> None:
        self.closed = True


class Renames(Honest):
    def write(self, batch: Batch) -> Any:
        self.name = f"{len(batch)} lines"
        return super().write(batch)


class Hangs(Honest):
    def write(self, batch: Batch) -> Any:
        STOP.wait()
        return super().write(batch)


STOP = threading.Event()


class BlocksTheLoop(AsyncHonest):
    async def write(self, batch: Batch) -> Any:
        time.sleep(0.7)  # noqa: ASYNC251 - the fault
        return await super().write(batch)


class BlocksTheLoopForEver(AsyncHonest):
    async def write(self, batch: Batch) -> Any:
        STOP.wait()
        return DELIVERED


class IgnoresCancellation(AsyncHonest):
    async def write(self, batch: Batch) -> Any:
        try:
            await asyncio.sleep(0)
            return await super().write(batch)
        except asyncio.CancelledError:
            while not self.free.is_set() and not STOP.is_set():
                await asyncio.sleep(0.001)
            raise


class LeaksATask(AsyncHonest):
    async def write(self, batch: Batch) -> Any:
        self.task = asyncio.ensure_future(asyncio.sleep(3600))
        return await super().write(batch)


class MixesKinds(Honest):
    async def write(self, batch: Batch) -> Any:  # type: ignore[override]
        return DELIVERED


class HasNoClose:
    name = "open"
    kind = Kind.FINAL

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def write(self, batch: Batch) -> Any:
        return DELIVERED

    def heal(self) -> None:
        pass


class HasNoKind(Honest):
    kind = "final"  # type: ignore[assignment]


class SendsABlankLine(Honest):
    def write(self, batch: Batch) -> Any:
        self.taken += batch.lines or [b"\n"]
        return DELIVERED


class RepeatsItselfOnNothing(Honest):
    def write(self, batch: Batch) -> Any:
        self.taken += batch.lines or self.taken[-1:]
        return DELIVERED


class AnswersForTheRest(Honest):
    def write(self, batch: Batch) -> Any:
        super().write(Batch(batch.lines[:1]))
        return Partial(range(len(batch))[:1], "later")  # type: ignore[arg-type]


class HarmsNeighbours(Honest):
    broken = False

    def write(self, batch: Batch) -> Any:
        self.broken = self.broken or any(len(line) > 32_768 for line in batch)
        return Permanent("too large") if self.broken else super().write(batch)


class NeverComesBack(Honest):
    def write(self, batch: Batch) -> Any:
        if not self.free.is_set():
            STOP.wait()
        return super().write(batch)


class LiesInDetail(Honest):
    def write(self, batch: Batch) -> Any:
        if not self.free.is_set():
            self.free.wait()
            return "late"
        return super().write(batch)


class CannotBeMade(Honest):
    def __init__(self) -> None:
        raise RuntimeError("no such receiver")


class SwallowsItsCancellation(AsyncHonest):
    async def write(self, batch: Batch) -> Any:
        try:
            return await super().write(batch)
        except asyncio.CancelledError:
            return Delivered()


class CannotClose(Honest):
    def close(self) -> None:
        raise OSError("no")


BAD = [
    (Swallows, "failure"),
    (AcknowledgesTwice, "answer"),
    (AcknowledgesTooMuch, "answer"),
    (LosesTheLast, "acknowledgement"),
    (SaysTooLittle, "acknowledgement"),
    (RepeatsLines, "one line"),
    (CutsLargeLines, "large line"),
    (Cleans, "any bytes"),
    (ReturnsNone, "answer"),
    (AsksForNoTime, "failure"),
    (RaisesAtStart, "made while down"),
    (ThreadAtStart, "starts nothing"),
    (LeaksAThread, "nothing left"),
    (Reorders, "order"),
    (Mutates, "batch unchanged"),
    (RefusesDuplicates, "possible duplicates"),
    (ChokesOnNothing, "empty batch"),
    (ChokesOnMany, "many lines"),
    (StaysBroken, "healing"),
    (LiesWhenLate, "late answer"),
    (Prints, "quiet"),
    (Logs, "quiet"),
    (BoundToAThread, "any thread"),
    (ClosesOnce, "close twice"),
    (LosesAfterClose, "write after close"),
    (Renames, "name and kind"),
    (Hangs, "answer"),
    (BlocksTheLoop, "free loop"),
    (BlocksTheLoopForEver, "answer"),
    (IgnoresCancellation, "cancellation"),
    (LeaksATask, "nothing left"),
    (MixesKinds, "one kind"),
    (HasNoClose, "one kind"),
    (HasNoKind, "name and kind"),
    (SendsABlankLine, "empty batch"),
    (RepeatsItselfOnNothing, "empty batch"),
    (AnswersForTheRest, "answer"),
    (HarmsNeighbours, "large line"),
    (NeverComesBack, "late answer"),
    (LiesInDetail, "late answer"),
    (CannotClose, "close twice"),
    (CannotBeMade, "made"),
    (SwallowsItsCancellation, "cancellation"),
]


@pytest.fixture
def _stopped() -> Iterator[None]:
    """Let go, after the test, of what hangs or was started."""
    yield
    STOP.set()
    for tier in STARTED:
        tier.stop.set()
    STARTED.clear()
    RaisesAtStart.down = False
    for thread in threading.enumerate():
        if thread.name.startswith("check-"):
            thread.join(5)
    STOP.clear()


@pytest.mark.usefixtures("_stopped")
@pytest.mark.parametrize(("kind", "name"), BAD, ids=[kind.__name__ for kind, _ in BAD])
def test_bad_tier_is_told_which_rule_it_breaks(kind: Any, name: str) -> None:
    """
    A tier that breaks a rule fails the check of that rule, with its sentence and what was seen.
    """
    with pytest.raises(Nonconforming) as caught:
        check_tier(kind, **HOOKS, seconds=1.0, cases=[CASES[name]])

    assert [name] == [violation.case for violation in caught.value.violations]
    assert f"{name}: {CASES[name].rule}\n    seen: " in str(caught.value)


@pytest.mark.parametrize("kind", [Honest, AsyncHonest])
def test_tiers_that_the_bad_ones_are_made_from_conform(kind: Any) -> None:
    """
    What the bad tiers are failed for is their own fault alone.
    """
    assert check_tier(kind, **HOOKS).holds


class HasALimit(Honest):
    """Refuses what is too large, by itself; everything else it takes."""

    def write(self, batch: Batch) -> Any:
        if any(len(line) > 32_768 for line in batch):
            return Permanent("too large")
        return super().write(batch)


class HealsSlowly(Honest):
    """Needs two writes more after its receiver is well again."""

    left = 0

    def fail_with(self, step: object) -> None:
        self.left = 2
        super().fail_with(step)

    def write(self, batch: Batch) -> Any:
        if self.error is None and self.left:
            self.left -= 1
            return Retryable("connecting")
        return super().write(batch)


class GivesUpByItself(Honest):
    """Has a deadline of its own, and says that it does not know."""

    def write(self, batch: Batch) -> Any:
        return super().write(batch) if self.free.is_set() else Unknown("no answer")


@pytest.mark.parametrize("kind", [HasALimit, HealsSlowly, GivesUpByItself])
def test_what_is_allowed_is_not_told(kind: Any) -> None:
    """
    Refusing what is too large, healing slowly and giving up early are no broken rules.
    """
    assert {"large line", "healing", "late answer"} <= set(check_tier(kind, **HOOKS).holds)


def test_failure_is_missed_without_reading_back() -> None:
    """
    Who takes everything while the receiver fails is told so, also where nothing is read back.
    """
    hooks = {name: hook for name, hook in HOOKS.items() if name != "received"}
    with pytest.raises(Nonconforming, match="the receiver fails, and the answer to 1 lines was"):
        check_tier(Swallows, **hooks, cases=[CASES["failure"]])


def test_all_broken_rules_are_told_together() -> None:
    """
    The message has each broken rule, not the first one only.
    """

    class Worse(Reorders, Prints):
        pass

    with pytest.raises(Nonconforming, match=r"Worse breaks 2 of \d+ rules") as caught:
        check_tier(Worse, **HOOKS)

    assert ["order", "quiet"] == [violation.case for violation in caught.value.violations]


@pytest.mark.usefixtures("_stopped")
def test_tier_that_hangs_costs_its_time_once() -> None:
    """
    A tier that never answers is told so within the time given, and is not tried any further.
    """
    began = time.monotonic()
    with pytest.raises(Nonconforming, match=r"nothing within 0\.2 s: the tier hangs") as caught:
        check_tier(Hangs, seconds=0.2)

    assert 1 == len(caught.value.violations)
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("_stopped")
def test_blocked_loop_is_told_from_a_write_that_waits() -> None:
    """
    Where an async tier blocks the loop for ever, the message says that it is the loop.
    """
    with pytest.raises(Nonconforming, match="must never block the event loop, and this one does"):
        check_tier(BlocksTheLoopForEver, seconds=0.2)


def test_rules_can_be_left_out() -> None:
    """
    A rule that does not hold for a reason is left out by its name; a wrong name is an error.
    """
    check_tier(Prints, **HOOKS, skip=["quiet"])
    with pytest.raises(ValueError, match="no case is called 'quite'; there are made, one kind"):
        check_tier(Prints, skip=["quite"])
    with pytest.raises(ValueError, match="seconds must be positive, not 0"):
        check_tier(Honest, seconds=0)


def test_factory_that_raises_is_a_broken_rule() -> None:
    """
    What cannot be made at all fails the first rule, with the error.
    """

    def make() -> Honest:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(Nonconforming, match=r"made: .*\n    seen: .*nobody there"):
        check_tier(make)
