from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from tests._frontier import Call, CallStyle

pytestmark = pytest.mark.unit


class Receipt:
    """Count how often it is awaited."""

    def __init__(self) -> None:
        self.awaited = 0

    def __await__(self) -> Generator[None, None, None]:
        self.awaited += 1
        return
        yield


def test_receipt_comes_back(call_style: CallStyle) -> None:
    """
    `call` returns the receipt it was given, awaited on a loop only.
    """
    receipt = Receipt()

    async def scenario(call: Call) -> Receipt:
        return await call(receipt)

    assert receipt is call_style.run(scenario)
    assert call_style.on_loop == bool(receipt.awaited)


def test_loop_of_each_style(call_style: CallStyle) -> None:
    """
    Only the asyncio style has a running asyncio loop, only the trio style a trio task.
    """

    async def scenario(_: Call) -> str:
        import trio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return "trio" if trio.lowlevel.in_trio_task() else "plain"
        return "asyncio"

    assert call_style.name == call_style.run(scenario)


def test_failure_in_a_scenario_comes_out(call_style: CallStyle) -> None:
    """
    An exception of the scenario is the exception of the test.
    """

    async def scenario(_: Call) -> None:
        raise LookupError("as it is")

    with pytest.raises(LookupError, match="as it is"):
        call_style.run(scenario)


def test_waiting_in_the_plain_style_is_refused() -> None:
    """
    A plain scenario that waits for a loop says so instead of hanging.
    """

    async def scenario(_: Call) -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="no event loop"):
        CallStyle("plain").run(scenario)
