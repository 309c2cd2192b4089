from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from hydra.core.context import context, current, current_fields
from hydra.core.line import EMPTY, LineEncoder

pytestmark = pytest.mark.unit


@pytest.fixture(name="encoder")
def _encoder():
    return LineEncoder()


def test_no_context(encoder):
    """
    Outside of any context the shared empty fragment is returned.
    """
    assert current(encoder) is EMPTY
    assert {} == current_fields()


def test_contexts_nest(encoder):
    """
    The inner context wins while it lasts; after it, the outer one is back.
    """
    seen = []
    with context(a=1, b=2):
        with context(b=3, c=4):
            seen.append(current(encoder).data)
        seen.append(current(encoder).data)
    seen.append(current(encoder).data)

    assert [b',"a":1,"b":3,"c":4', b',"a":1,"b":2', b""] == seen


def test_context_is_encoded_once_for_each_encoder(encoder):
    """
    Records share one fragment; after a change of the encoder it is made anew.
    """
    other = LineEncoder()
    with context(a=1):
        first, second, third = current(encoder), current(encoder), current(other)

    assert first is second
    assert first is not third
    assert first.data == third.data


def test_context_decorates(encoder):
    """
    A decorated function runs in the context, also when it calls itself.
    """

    @context(job="x")
    def work(depth):
        if depth:
            work(depth - 1)
        return current(encoder).data

    assert b',"job":"x"' == work(2)
    assert current(encoder) is EMPTY


def test_context_ends_with_an_exception(encoder):
    """
    An exception leaves the context and passes.
    """
    with pytest.raises(ZeroDivisionError), context(a=1):
        raise ZeroDivisionError

    assert current(encoder) is EMPTY


def test_context_left_elsewhere(encoder):
    """
    A context that is left in another context than it was entered in does not raise.
    """
    opened = context(a=1)
    contextvars.copy_context().run(opened.__enter__)
    opened.__exit__(None, None, None)
    opened.__exit__(None, None, None)

    assert current(encoder) is EMPTY


def test_tasks_do_not_share(encoder):
    """
    Each task sees its own context and what was set where it was started.
    """

    async def one(number):
        with context(n=number):
            await asyncio.sleep(0)
            return current(encoder).data

    async def main():
        with context(app="x"):
            return await asyncio.gather(one(1), one(2))

    assert [b',"app":"x","n":1', b',"app":"x","n":2'] == asyncio.run(main())


def test_threads_do_not_inherit(encoder):
    """
    A plain thread starts without the fields of the thread that started it.
    """
    seen = []
    with context(a=1):
        thread = threading.Thread(target=lambda: seen.append(current_fields()))
        thread.start()
        thread.join()

    assert [{}] == seen
