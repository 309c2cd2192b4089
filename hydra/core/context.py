"""
Context: fields that hold for everything a task or thread does inside a `with`.

Rule 1: one ContextVar holds one immutable layer; entering sets it, leaving resets it. Tasks
and threads therefore see what was set where they were started, and never each other's.
Rule 2: a layer is encoded at most once for each encoder, when its first record asks.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Protocol

from .line import EMPTY, Fragment


class Fragments(Protocol):
    """What a context needs of an encoder."""

    def fragment(self, fields: dict[str, object]) -> Fragment:
        """Return *fields* redacted and encoded."""


class _Layer:
    """The merged fields of all open contexts, with their latest encoding."""

    __slots__ = ("encoded", "fields")

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields
        # One tuple, replaced whole: threads that share a layer may encode it twice,
        # but never see an encoder with the fragment of another.
        self.encoded: tuple[Fragments | None, Fragment] = (None, EMPTY)


variable: Final[ContextVar[_Layer | None]] = ContextVar("hydra_context", default=None)
"""Holds the layer of the running context; None outside of any."""

innermost: Final = variable.get
"""Return the layer of the running context; None outside of any. The short way to ask."""


def current(encoder: Fragments) -> Fragment:
    """Return the fields of the running context, encoded by *encoder*; `EMPTY` outside of any."""
    layer = variable.get()
    if layer is None:
        return EMPTY
    owner, fragment = layer.encoded
    if owner is encoder:
        return fragment
    fragment = encoder.fragment(layer.fields)
    layer.encoded = (encoder, fragment)
    return fragment


def current_fields() -> dict[str, object]:
    """Return a copy of the fields of the running context, as they were given."""
    layer = variable.get()
    return {} if layer is None else dict(layer.fields)


class context(ContextDecorator):  # noqa: N801 - used as a statement: `with context(user_id=7):`
    """
    Add *fields* to every record that is logged inside the `with`.

    Contexts nest: the inner one wins where both have a field, and what was outside is
    back when it ends. Values are taken when the first record asks for them. It may also
    decorate a function (for a coroutine function, use `with` inside of it), be entered
    again, and be left in another task than it was entered in without raising.
    """

    def __init__(self, /, **fields: object) -> None:
        self._fields = fields
        self._tokens: list[Token[_Layer | None]] = []

    def _recreate_cm(self) -> context:
        # Each call of a decorated function enters a context of its own, so that
        # calls that overlap, in threads or tasks, do not leave each other's.
        return context(**self._fields)

    def __enter__(self) -> None:
        layer = variable.get()
        merged = self._fields if layer is None else {**layer.fields, **self._fields}
        self._tokens.append(variable.set(_Layer(merged)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            variable.reset(self._tokens.pop())
        except (IndexError, ValueError):
            # Left more often than entered, or in another task than entered, as a
            # generator may when it is closed late: there is nothing of ours to undo.
            return
