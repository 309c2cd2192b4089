from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from fallbacks import Batch, Delivered, _compiled
from fallbacks.handover import claim, hand_over, waive
from fallbacks.tiers import AsyncCallableTier, CallableTier

pytestmark = pytest.mark.unit

compiled = pytest.mark.skipif(_compiled.NATIVE is None, reason="fallbacks._native was not built")

TRIES = 50
"""How often one claim is tried; as in native/handover.c."""


class Waiting:
    """A thread that waits for the interpreter, which nobody else lets go of meanwhile."""

    def __init__(self) -> None:
        self.came = False
        self._go = threading.Lock()
        self._go.acquire()
        self._asleep = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self._asleep.wait()

    def _main(self) -> None:
        self._asleep.set()
        self._go.acquire()
        self.came = True
        waive()

    def wake(self) -> None:
        self._go.release()

    def join(self) -> None:
        self._thread.join(20)


@pytest.fixture(name="thread")
def _thread() -> Iterator[Waiting]:
    """With a switch interval that lets no thread in by itself."""
    interval = sys.getswitchinterval()
    waive()
    waiting = Waiting()
    sys.setswitchinterval(1000)
    try:
        yield waiting
    finally:
        sys.setswitchinterval(interval)
        waive()
        waiting.join()


def busy(waiting: Waiting, ask: Callable[[], object], seconds: float) -> bool:
    """Keep the interpreter busy, calling *ask* now and then; return whether the thread came."""
    end = time.monotonic() + seconds
    while not waiting.came and time.monotonic() < end:
        ask()
    return waiting.came


@compiled
def test_thread_with_a_claim_has_its_turn(thread: Waiting) -> None:
    """It gets the interpreter as soon as somebody who has it asks, and not before."""
    claim(0)
    thread.wake()

    assert not busy(thread, int, 0.02)
    assert busy(thread, lambda: (claim(0), hand_over()), 20)


@compiled
@pytest.mark.parametrize("how", ["none", "waived", "later", "too often"])
def test_nobody_has_a_claim(thread: Waiting, how: str) -> None:
    """The interpreter is kept where nobody needs it, or has needed it in vain for too long."""
    if how != "none":
        claim(3600 if how == "later" else 0)
    if how == "waived":
        waive()
    if how == "too often":
        for _ in range(TRIES):
            hand_over()
    thread.wake()

    assert not busy(thread, hand_over, 0.02)


@compiled
def test_claim_that_is_no_number() -> None:
    """Nonsense is refused, and claims nothing."""
    with pytest.raises(TypeError):
        claim("soon")  # type: ignore[arg-type]


@compiled
@pytest.mark.parametrize("tier", [CallableTier, AsyncCallableTier])
def test_sink_is_not_waited_for(tier: type[CallableTier | AsyncCallableTier]) -> None:
    """While a function of somebody else's runs, nobody claims anything; afterwards as before."""
    seen = []
    sink = tier(lambda lines: seen.append(waive()))

    def write() -> None:
        answer = sink.write(Batch([b"a\n"]))
        if not isinstance(answer, Delivered):
            with suppress(StopIteration):
                answer.send(None)

    claim(0)
    write()
    claimed = waive()
    write()

    assert [False, False] == seen
    assert (True, False) == (claimed, waive())


def test_nothing_is_raised_by_a_hint() -> None:
    """With or without what is compiled."""
    claim(0)
    hand_over()
    waive()
    hand_over()
