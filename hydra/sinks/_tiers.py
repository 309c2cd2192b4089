"""
From a destination's settings to the tiers of its chain.

Rule 1: the standard chains stand here and nowhere else. File: async file, sync
file on the same path (its twin), fallback file, standard error. Console: the
console, standard error. Sink: the sink, fallback file, standard error.
Rule 2: where there are copies, each has a store for what it misses, behind all
other tiers, whatever the strategy: that can be switched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

from msgspec import Struct

from fallbacks.batch import Batch
from fallbacks.held import HeldStore
from fallbacks.outcomes import Outcome
from fallbacks.position import Position
from fallbacks.tier import AsyncTier, SyncTier, Tier, is_async
from fallbacks.tiers import AsyncFileTier, FileTier, StreamTier, tier_from

from ..config import DestinationSettings, FallbackSettings
from ..config._names import safe_name
from ..encoders import encoder
from ._reach import Reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fallbacks.system import System

_NUMBERS: Final = {"stdout": 1, "stderr": 2}
# A console gives up by itself a little before its deadline, so that it can say
# how many lines it took instead of being abandoned.
_SHARE: Final = 0.8
# Where what a copy missed is kept when no fallback file says it.
_PLACE: Final = FallbackSettings(type="file")

Hint = Callable[[], Position | None]
"""Says from where the destination's file may have lines unannounced; None: from its beginning."""


class MakeStore(Protocol):
    """Makes held stores; returns None where there is no place for one."""

    def __call__(self, fallback: FallbackSettings, hint: Hint, copy: str = "") -> HeldStore | None:
        """
        Return a store.

        Args:
            fallback: Path, quota and reserve; without a path it is in the state directory.
            hint: From where the file that lines are replayed to may have some already.
            copy: The copy whose misses it keeps; empty for the destination's own store.
        """


class Chained(Struct, frozen=True):
    """
    The tiers of a chain, and what the engine has to know about them.

    `primaries` are how many tiers at the front stand for the destination itself;
    `copies` the indices of the tiers of each copy, the destination's first;
    `repairs` by copy the index of the store that keeps what it missed;
    `safe` the indices of sync tiers of our own, which a caller may be made to
    run; `store` the first holding tier; `reaches` how far the file of each copy
    reaches; `loop_only` says that a copy which the strategy cannot do without is async.
    """

    tiers: tuple[Tier, ...]
    primaries: int
    copies: tuple[tuple[int, ...], ...]
    repairs: Mapping[int, int]
    safe: tuple[int, ...]
    store: HeldStore | None
    reaches: tuple[Reach, ...]
    loop_only: bool


def chain_of(
    settings: DestinationSettings, make_store: MakeStore, *, system: System, threads_only: bool
) -> Chained:
    """
    Return the chain that *settings* describe.

    Args:
        settings: The destination.
        make_store: Makes held stores.
        system: The system calls to use.
        threads_only: Leave out the async twin of a file.
    """
    tiers, ours = _primaries(settings, system, threads_only=threads_only)
    primaries = len(tiers)
    # A file that is one copy of several may have a line when it comes to be held, so what
    # it reaches to by then says nothing.
    alone = settings.copies == 1
    reaches = [Reach(tiers)]
    hint = reaches[0].hint if alone else _nowhere
    own = [ours] * primaries
    copies = [tuple(range(primaries))]
    labels = [settings.name]
    store: HeldStore | None = None
    place = _PLACE
    for fallback in _fallbacks(settings):
        first = len(tiers)
        if fallback.type == "file" and fallback.hold:
            held = make_store(fallback, hint)
            tiers += [] if held is None else [held]
            if store is None:
                store, place = held, fallback
        elif fallback.type == "file":
            tiers += _files(settings, fallback, system, threads_only=threads_only)
        elif fallback.type == "stderr":
            tiers.append(_stream(2, fallback.format, "auto", settings.timeout, "stderr", system))
        else:
            # Held lines come back as they are, so nothing is rendered on the way there.
            tiers.append(
                tier_from(fallback.sink)
                if fallback.holds
                else _sink(fallback.sink, fallback.format)
            )
        own += [fallback.type != "sink"] * (len(tiers) - first)
        if fallback.copies:
            copies.append(tuple(range(first, len(tiers))))
            reaches.append(Reach(tiers[first:]))
            labels.append(_label(fallback, labels))
    repairs = {}
    for copy, label in enumerate(labels) if len(copies) > 1 else ():
        kept = make_store(place, reaches[copy].hint, label)
        if kept is not None:
            repairs[copy] = len(tiers)
            tiers.append(kept)
            own.append(True)
    safe = tuple(index for index, tier in enumerate(tiers) if own[index] and not is_async(tier))
    needed = copies[:1] if settings.strategy in {"failover", "spool"} else copies
    loop_only = any(all(is_async(tiers[index]) for index in copy) for copy in needed)
    return Chained(
        tuple(tiers),
        primaries,
        tuple(copies),
        repairs,
        safe,
        store,
        tuple(reaches),
        loop_only,
    )


def _label(fallback: FallbackSettings, taken: Sequence[str]) -> str:
    """
    Return a name for a copy that stays the same when the order of the fallbacks changes.

    What it missed is found by that name after a restart.
    """
    if fallback.path is not None:
        stem = safe_name(os.path.splitext(os.path.basename(fallback.path))[0])[:40] or "file"
        wish = f"{stem}-{crc32(os.path.abspath(fallback.path).encode()):08x}"
    else:
        sink = fallback.sink
        wish = str(getattr(sink, "name", None) or getattr(sink, "__name__", type(sink).__name__))
        wish = safe_name(wish) or "sink"
    name, number = wish, 1
    while name in taken:
        number += 1
        name = f"{wish}-{number}"
    return name


def _files(
    settings: DestinationSettings,
    fallback: FallbackSettings,
    system: System,
    *,
    threads_only: bool,
) -> list[Tier]:
    """Return the tiers of a file that is one more copy: async and its twin."""
    assert fallback.path is not None
    name = os.path.basename(fallback.path)
    render = render_of(fallback.format, color=False)
    twin = FileTier(fallback.path, render=render, mode=settings.mode, name=name, system=system)
    if threads_only or settings.writer == "thread":
        return [twin]
    first = AsyncFileTier(
        fallback.path, render=render, mode=settings.mode, name=f"async {name}", system=system
    )
    return [first, twin]


def _sink(sink: object, form: str) -> Tier:
    tier = tier_from(sink)
    render = render_of(form, color=False)
    return tier if render is None else _rendered(tier, render)


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
        return [_sink(settings.sink, settings.format)], False
    number = 2 if settings.type == "stderr" else _NUMBERS[settings.stream]
    return [_stream(number, settings.format, settings.color, settings.timeout, name, system)], True


def _nowhere() -> Position | None:
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
