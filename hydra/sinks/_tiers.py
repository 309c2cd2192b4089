"""
From a destination's settings to the tiers of its chain.

Rule: the standard chains stand here and nowhere else. File: async file, sync
file on the same path (its twin), fallback file, standard error. Console: the
console, standard error. Sink: the sink, fallback file, standard error.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from fallbacks.batch import Batch
from fallbacks.held import HeldStore
from fallbacks.outcomes import Outcome
from fallbacks.position import Position
from fallbacks.tier import AsyncTier, SyncTier, Tier, is_async
from fallbacks.tiers import AsyncFileTier, FileTier, StreamTier, tier_from

from ..config import DestinationSettings, FallbackSettings
from ..encoders import encoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fallbacks.system import System

_NUMBERS: Final = {"stdout": 1, "stderr": 2}
# A console gives up by itself a little before its deadline, so that it can say
# how many lines it took instead of being abandoned.
_SHARE: Final = 0.8

Hint = Callable[[], Position | None]
"""Says how far the destination's file reaches, so that replay need not read all of it."""

MakeStore = Callable[[str | None, int | None, Hint], HeldStore | None]
"""Makes the held store at a path (None: in the state directory) with a quota."""


@dataclass(frozen=True, slots=True)
class Chained:
    """
    The tiers of a chain, and what the engine has to know about them.

    `primaries` are how many tiers at the front stand for the destination itself;
    `safe` the indices of sync tiers of our own, which a caller may be made to
    run; `store` the first holding tier; `loop_only` says that the destination
    itself is async.
    """

    tiers: tuple[Tier, ...]
    primaries: int
    safe: tuple[int, ...]
    store: HeldStore | None
    loop_only: bool


def chain_of(
    settings: DestinationSettings, make_store: MakeStore, *, system: System, threads_only: bool
) -> Chained:
    """
    Return the chain that *settings* describe.

    Args:
        settings: The destination.
        make_store: Makes held stores; returns None where there is no place for one.
        system: The system calls to use.
        threads_only: Leave out the async twin of a file.
    """
    primaries, ours = _primaries(settings, system, threads_only=threads_only)
    tiers = list(primaries)
    hint = partial(_reach, primaries)
    own = [ours] * len(primaries)
    store: HeldStore | None = None
    for fallback in _fallbacks(settings):
        if fallback.type == "file":
            held = make_store(fallback.path, fallback.quota, hint)
            if held is not None:
                tiers.append(held)
                own.append(True)
                store = store or held
        elif fallback.type == "stderr":
            tiers.append(_stream(2, fallback.format, "auto", settings.timeout, "stderr", system))
            own.append(True)
        else:
            tiers.append(tier_from(fallback.sink))
            own.append(False)
    safe = tuple(index for index, tier in enumerate(tiers) if own[index] and not is_async(tier))
    loop_only = all(is_async(tier) for tier in primaries)
    return Chained(tuple(tiers), len(primaries), safe, store, loop_only)


def _primaries(
    settings: DestinationSettings, system: System, *, threads_only: bool
) -> tuple[list[Tier], bool]:
    """Return the tiers that stand for the destination, and whether they are our own."""
    name = settings.name
    if settings.type == "file":
        assert settings.path is not None
        render = render_of(settings.format, color=False)
        twin = FileTier(
            settings.path, render=render, mode=settings.mode, name="file", system=system
        )
        if threads_only or settings.writer == "thread":
            return [twin], True
        first = AsyncFileTier(
            settings.path, render=render, mode=settings.mode, name="async_file", system=system
        )
        return [first, twin], True
    if settings.type == "sink":
        tier = tier_from(settings.sink)
        render = render_of(settings.format, color=False)
        return [tier if render is None else _rendered(tier, render)], False
    number = 2 if settings.type == "stderr" else _NUMBERS[settings.stream]
    return [_stream(number, settings.format, settings.color, settings.timeout, name, system)], True


def _reach(primaries: Sequence[Tier]) -> Position | None:
    for tier in primaries:
        if isinstance(tier, FileTier | AsyncFileTier) and (found := tier.position()):
            return found
    return None


def _fallbacks(settings: DestinationSettings) -> tuple[FallbackSettings, ...]:
    if settings.fallback is not None:
        return settings.fallback
    stderr = FallbackSettings(type="stderr")
    if settings.type in {"file", "sink"}:
        return (FallbackSettings(type="file"), stderr)
    # Standard error is no fallback for itself.
    return (stderr,) if settings.type == "console" and settings.stream == "stdout" else ()


def _stream(
    number: int, form: str, color: str, timeout: float, name: str, system: System
) -> StreamTier:
    terminal = _is_terminal(number)
    if form == "auto":
        form = "text" if terminal else "json"
    colored = color == "always" or (color == "auto" and terminal and _shows_colors(os.environ))
    return StreamTier(
        number,
        render=render_of(form, color=colored),
        name=name,
        timeout=timeout * _SHARE,
        system=system,
    )


def render_of(form: str, *, color: bool) -> Callable[[bytes], bytes] | None:
    """Return the rendering called *form*; None for JSON, which is the line itself."""
    return None if form == "json" else encoder(form, color=color)


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False


def _shows_colors(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "") not in {"", "dumb"}


def _rendered(tier: Tier, render: Callable[[bytes], bytes]) -> Tier:
    """Return a tier that gives *tier* its lines in another format."""
    if isinstance(tier, AsyncTier) and is_async(tier):
        return _RenderedAsync(tier, render)
    assert isinstance(tier, SyncTier)
    return _RenderedSync(tier, render)


class _RenderedSync:
    def __init__(self, tier: SyncTier, render: Callable[[bytes], bytes]) -> None:
        self.name, self.kind = tier.name, tier.kind
        self.close = tier.close
        self._tier = tier
        self._render = render

    def write(self, batch: Batch) -> Outcome:
        return self._tier.write(Batch(list(map(self._render, batch)), duplicate=batch.duplicate))


class _RenderedAsync:
    def __init__(self, tier: AsyncTier, render: Callable[[bytes], bytes]) -> None:
        self.name, self.kind = tier.name, tier.kind
        self.aclose = tier.aclose
        self._tier = tier
        self._render = render

    async def write(self, batch: Batch) -> Outcome:
        lines = list(map(self._render, batch))
        return await self._tier.write(Batch(lines, duplicate=batch.duplicate))
