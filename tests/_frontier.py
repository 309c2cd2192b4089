"""
One scenario, three frontiers: the plain call, asyncio, and trio.

A logger call behaves alike whether its receipt is dropped, or awaited under
either kind of event loop. A test writes its scenario once, as an async function
that is given `call`, and runs it with the fixture `call_style`:

    def test_record_reaches_the_file(call_style, tmp_path):
        async def scenario(call):
            receipt = await call(log.info("order placed", order_id=42))

            assert hydra.QUEUED is receipt

        call_style.run(scenario)

`call` gives back what it was given. Under "asyncio" and "trio" it awaits it
first, on a running loop. Under "plain" it awaits nothing: there is no running
loop, the scenario is stepped through by hand, and it must not wait for
anything but `call`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

AnyAwaitable = TypeVar("AnyAwaitable", bound=Awaitable[object])
Result = TypeVar("Result")

STYLES: Final = ("plain", "asyncio", "trio")


class Call(Protocol):
    """Await a receipt, or leave it alone, and give it back."""

    async def __call__(self, receipt: AnyAwaitable, /) -> AnyAwaitable: ...


Scenario = Callable[[Call], Coroutine[Any, Any, Result]]


@dataclass(frozen=True, slots=True)
class CallStyle:
    """
    A way to make logger calls.

    Args:
        name: "plain", "asyncio" or "trio".
    """

    name: str

    @property
    def on_loop(self) -> bool:
        """Whether the scenario runs on an event loop."""
        return self.name != "plain"

    def run(self, scenario: Scenario[Result]) -> Result:
        """
        Run *scenario* to its end and return its result.

        Raises:
            RuntimeError: If a scenario waits for something in the plain style.
        """
        if self.name == "asyncio":
            import asyncio

            return asyncio.run(scenario(_awaited))
        if self.name == "trio":
            import trio

            return trio.run(scenario, _awaited)
        return _step_through(scenario(_plain))


async def _awaited(receipt: AnyAwaitable, /) -> AnyAwaitable:
    await receipt
    return receipt


async def _plain(receipt: AnyAwaitable, /) -> AnyAwaitable:
    return receipt


def _step_through(coroutine: Coroutine[Any, Any, Result]) -> Result:
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    coroutine.close()
    raise RuntimeError("a plain scenario waits for something: there is no event loop to wait on")
