"""
Stats: one reading of the whole engine, frozen.

The unit is a delivery, one record for one destination: a record that goes to two
destinations counts twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class TierStats(Struct, frozen=True, kw_only=True):
    """One tier of a chain."""

    name: str
    kind: str
    """`final`, `holding`, or `repair` where it keeps what one copy missed."""
    delivered: int
    """Records it took, control records included."""
    attempts: int
    failed: int
    """Attempts that did not take everything they were given."""
    state: str
    """`closed` (healthy), `open` (resting), `probing`, or `busy` (an abandoned call is out)."""
    opened: int
    """How often its breaker opened."""
    p50: float | None
    """Seconds that half of the attempts took at most; None before the first."""
    p99: float | None
    last_error: str | None
    copy: int | None = None
    """The copy that it stands for, or whose misses it keeps; 0 is the destination itself."""
    throughput: float | None = None
    """Records taken for each second spent in attempts; None before the first."""
    failure_rate: float = 0.0
    """The share of attempts that failed of late, 0 to 1."""
    score: float = 0.0
    """What an attempt costs of late, in seconds, failures included; `fastest` ranks by it."""
    latency: tuple[tuple[float, int], ...] = ()
    """How many attempts took at most so many seconds, for a rising row of bounds."""
    seconds: float = 0.0
    """Seconds spent in attempts."""
    changes: tuple[tuple[int, str], ...] = ()
    """The last changes of its breaker: nanoseconds since the epoch, and the new state."""


class DestinationStats(Struct, frozen=True, kw_only=True):
    """One destination."""

    name: str
    accepted: int
    delivered: int
    pending: int
    dropped: int
    dead_letters: int = 0
    """Of the dropped ones, those that the destination refused for good, kept aside in a file."""
    held: int
    replayed: int
    lost: int
    """What no place accounts for; anything but 0 at a quiet moment is a bug."""
    queued: int
    """Records in the queue now."""
    queued_bytes: int
    high_water: int
    """The most places of the queue that were ever taken at once."""
    parked: int
    spilled: int
    """Records that found the queue full and were held in a file instead, since the start."""
    blocked_seconds: float
    """Seconds for which callers were made to wait for room, all together."""
    mode: str
    """Who writes: `new`, `thread`, `loop` or `direct`."""
    rescues: int
    """How often a call that outlived its deadline was left behind."""
    crashes: int
    """How often the writer had to be restarted after an error of its own."""
    tiers: tuple[TierStats, ...]
    strategy: str = "failover"
    repairing: int = 0
    """Delivered records that wait in files for a copy that missed them, once for each copy."""
    missed: int = 0
    """Delivered records that a copy missed and will never get, once for each copy."""


class JournalStats(Struct, frozen=True, kw_only=True):
    """The journal."""

    state: str
    """`on`, `off`, or why there is none although there should be."""
    directory: str | None = None
    segments: int = 0
    bytes: int = 0
    quota: int = 0
    live: int = 0
    """Records in it that are not yet settled everywhere."""
    failed: int = 0
    """Records that it could not take."""
    degraded: int = 0
    """Records on an event loop that were spared it while it stalled."""
    poisoned: int = 0
    """Segments given up after a failed fdatasync."""
    adoptions_failed: int = 0
    """Takings-over from dead processes that failed; what they left stays for the next start."""
    adoptions_refused: int = 0
    """Files of others that were left alone: foreign, of a newer version, or unreadable."""


class HookStats(Struct, frozen=True, kw_only=True):
    """The application's functions that are told of events."""

    calls: int = 0
    """How often one of them was called."""
    failed: int = 0
    """How often one of them raised."""
    coalesced: int = 0
    """Events that a later one replaced before it could be told."""
    running: float = 0.0
    """Seconds that the call under way has taken; one that grows is a hook that hangs."""
    last_error: str | None = None


class Stats(Struct, frozen=True, kw_only=True):
    """
    The engine at one moment.

    `accepted == delivered + dropped + pending` holds whenever nothing is under way;
    `balanced` says whether it holds now.
    """

    accepted: int = 0
    """Deliveries taken in, those taken over from dead processes included."""
    delivered: int = 0
    pending: int = 0
    """Queued, parked, in flight, held or in the journal."""
    dropped: int = 0
    suppressed: int = 0
    """Records that a processor dropped on purpose; they count nowhere else."""
    held: int = 0
    """Of the pending ones, those in files of ours that wait for replay."""
    replayed: int = 0
    """Of the delivered ones, those that were held before."""
    balanced: bool = True
    drops: Mapping[tuple[str, str], int] = {}
    """Dropped deliveries by (level, reason)."""
    destinations: Mapping[str, DestinationStats] = {}
    journal: JournalStats = JournalStats(state="off")
    hooks: HookStats = HookStats()
    live: str = "off"
    """Live statistics: `on`, `off`, or why the last ones could not be published."""
