"""
Tiers: the places a chain can put lines, and what it may expect of them.

Rule 1: a tier reports, it does not decide. Retrying, waiting and moving on are
the plan's business.
Rule 2: at most one `write` is under way per tier; a tier needs no lock of its own.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol, TypeAlias, runtime_checkable

from .batch import Batch
from .outcomes import Outcome


class Kind(Enum):
    """Whether lines that a tier has taken are at their end."""

    FINAL = "final"
    """Taken lines are delivered: a sink, a console, standard error."""

    HOLDING = "holding"
    """Taken lines are kept for replay to the primary: a fallback file, a spool."""

    REPAIR = "repair"
    """Taken lines are kept for the one copy that missed them; other copies have them."""


class RenderError(Exception):
    """What the `render` of a tier raised, its `__cause__`: the tier itself has not failed."""


@runtime_checkable
class SyncTier(Protocol):
    """
    A tier whose `write` runs on a thread and may block up to its deadline.

    `name` labels it in statistics and receipts; `kind` says whether taken lines
    are delivered or held. That a holding one serves for repair is said to the chain.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...

    def write(self, batch: Batch) -> Outcome:
        """
        Take *batch*, in order, and say what became of it.

        Called by one thread at a time, never again before it has returned.
        Anything it raises counts as `Retryable`. When the deadline passes the
        call is abandoned: it may return whenever it likes, its answer is read then.
        """

    def close(self) -> None:
        """Let go of descriptors and connections. Idempotent; `write` may reopen."""


@runtime_checkable
class AsyncTier(Protocol):
    """A tier whose `write` is a coroutine on the chain's own event loop."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...

    async def write(self, batch: Batch) -> Outcome:
        """As `SyncTier.write`; cancelled when the deadline passes."""

    async def aclose(self) -> None:
        """As `SyncTier.close`."""


Tier: TypeAlias = SyncTier | AsyncTier


def is_prompt(tier: Tier) -> bool:
    """
    Return whether *tier*, an async one, says that its `write` ends at once when cancelled.

    Its class has an attribute `prompt` then, which is True, and it is awaited without a task
    of its own. The class is asked: to look at a foreign object may run its code.
    """
    return getattr(type(tier), "prompt", False) is True


def is_async(tier: Tier) -> bool:
    """Return whether *tier* is an `AsyncTier`; it has `aclose`, the other has `close`."""
    return hasattr(tier, "aclose")
