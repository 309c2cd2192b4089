"""
Settings: what the engine is built from, checked and complete.

Rule 1: a settings object never changes, holds absolute paths only, and has a value
for every option; nothing that reads it looks at the environment again.
Rule 2: the defaults stand here, by name; the checks stand with the option tables.
Rule 3: structs of msgspec, since creating as many dataclasses takes ten times as
long at import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct, field

from fallbacks.tier import Kind

from . import _defaults as default

DestinationType: TypeAlias = Literal["file", "console", "stderr", "sink"]
FallbackType: TypeAlias = Literal["file", "stderr", "sink"]
Format: TypeAlias = Literal["json", "plain", "text", "auto"]
Stream: TypeAlias = Literal["stdout", "stderr"]
Color: TypeAlias = Literal["auto", "always", "never"]
Strategy: TypeAlias = Literal["failover", "mirror", "spool", "fastest", "quorum"]
WriterKind: TypeAlias = Literal["auto", "thread", "loop"]
WhenFull: TypeAlias = Literal["block", "drop_new", "drop_old", "shed", "spill"]
Processor: TypeAlias = Callable[..., object]


class QueueSettings(Struct, frozen=True, kw_only=True):
    """The bounds of one destination's queue, and what happens at them."""

    records: int = default.QUEUE_RECORDS
    bytes: int = default.QUEUE_BYTES
    reserve: int = default.QUEUE_RESERVE
    when_full: WhenFull = default.QUEUE_WHEN_FULL
    block_timeout: float = default.QUEUE_BLOCK_TIMEOUT


class JournalSettings(Struct, frozen=True, kw_only=True):
    """Where and how records of level error and above survive the process."""

    enabled: bool | None = None
    dir: str | None = None
    quota: int = default.JOURNAL_QUOTA
    segment: int = default.JOURNAL_SEGMENT
    sync_interval: float = default.JOURNAL_SYNC_INTERVAL


class HookSettings(Struct, frozen=True, kw_only=True):
    """Functions of the application's that are told of events, on a thread of the engine."""

    on_pressure: Callable[..., object] | None = None
    on_drop: Callable[..., object] | None = None
    on_failover: Callable[..., object] | None = None
    on_recovery: Callable[..., object] | None = None


class RedactSettings(Struct, frozen=True, kw_only=True):
    """Which fields are masked before a record is encoded."""

    enabled: bool = default.REDACT_ENABLED
    keys: tuple[str, ...] = ()
    mask: str = default.REDACT_MASK


class FallbackSettings(Struct, frozen=True, kw_only=True):
    """One further place for the lines of a destination whose primary fails."""

    type: FallbackType
    path: str | None = None
    hold: bool = default.HOLD
    format: Format = default.FORMAT
    sink: object | None = None
    quota: int = default.FALLBACK_QUOTA
    reserve: int | None = None

    @property
    def holds(self) -> bool:
        """Whether it keeps lines for replay."""
        if self.type == "sink":
            return getattr(self.sink, "kind", None) is Kind.HOLDING
        return self.type == "file" and self.hold

    @property
    def copies(self) -> bool:
        """Whether it is one more copy of the destination; standard error is a last resort."""
        return self.type != "stderr" and not self.holds


class DestinationSettings(Struct, frozen=True, kw_only=True):
    """
    One place records go to, with its chain of fallbacks and its queue.

    `fallback` None means the standard chain of the type, an empty tuple no fallback
    at all. `quorum` None means more than half of the copies. `queue` None means the
    queue settings of the whole configuration.
    """

    name: str
    type: DestinationType
    path: str | None = None
    mode: int = default.FILE_MODE
    stream: Stream = default.STREAM
    format: Format = default.FORMAT
    color: Color = default.COLOR
    level: int | None = None
    strategy: Strategy = default.STRATEGY
    quorum: int | None = None
    timeout: float = default.TIMEOUT
    retries: int = default.RETRIES
    fallback: tuple[FallbackSettings, ...] | None = None
    queue: QueueSettings | None = None
    writer: WriterKind = default.WRITER
    sink: object | None = None
    batch: int | None = None
    replay_rate: int | None = None
    dead_letters: int = default.DEAD_LETTERS

    @property
    def most(self) -> int:
        """How many records are handed over in one write."""
        if self.batch is not None:
            return self.batch
        sinks = any(fallback.type == "sink" for fallback in self.fallback or ())
        joined = self.type == "file" and self.format == "json" and not sinks
        return default.FILE_BATCH if joined else default.BATCH

    @property
    def copies(self) -> int:
        """How many copies there are: the destination, and the fallbacks that are one each."""
        return 1 + sum(fallback.copies for fallback in self.fallback or ())

    @property
    def holds(self) -> bool:
        """Whether there is a fallback that keeps lines for replay."""
        if self.fallback is None:
            return self.type in {"file", "sink"}
        return any(fallback.type == "file" and fallback.hold for fallback in self.fallback)


class LayerSettings(Struct, frozen=True, kw_only=True):
    """
    What differs for one layer (the loggers of a name and below it).

    None means: as in the whole configuration. A destination that the layer shares
    with the whole configuration is the same object in both tuples.
    """

    level: int | None = None
    destinations: tuple[DestinationSettings, ...] | None = None


CONSOLE: DestinationSettings = DestinationSettings(
    name=default.CONSOLE_NAME, type="console", format=default.CONSOLE_FORMAT
)
"""The destination when none is configured: standard error, its format chosen by the stream."""


class Settings(Struct, frozen=True, kw_only=True):
    """A whole configuration. Made by `load`; complete when made by hand, too."""

    app: str
    level: int = default.LEVEL
    destinations: tuple[DestinationSettings, ...] = (CONSOLE,)
    layers: Mapping[str, LayerSettings] = field(default_factory=dict)
    queue: QueueSettings = QueueSettings()
    journal: JournalSettings = JournalSettings()
    redact: RedactSettings = RedactSettings()
    hooks: HookSettings = HookSettings()
    processors: tuple[Processor, ...] = ()
    strict: bool = default.STRICT
    control_records: bool = default.CONTROL_RECORDS
    callsite: bool = default.CALLSITE
    exit_timeout: float = default.EXIT_TIMEOUT
    signals: bool = default.SIGNALS
    live_stats: bool = default.LIVE_STATS
    state_dir: str | None = None
