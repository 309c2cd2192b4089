"""
The work of a writer, cut into jobs that a driver of either world can run.

Rule 1: a job is decided here and finished here; in between, a driver takes its
batch through the chain. Nothing in this module waits.
Rule 2: only the holder of the chain's ticket calls anything in here.
Rule 3: live records go first, but between two live batches one chunk of held
lines may pass: neither side starves the other.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from fallbacks.batch import Batch
from fallbacks.tier import Kind

from ..core.ids import identify, parse_id, weigh
from ..queue import Barrier, Entry, Fate, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fallbacks.delivery import Delivery
    from fallbacks.held import Chunk

    from ..queue._fifo import Item
    from ._repairing import Repair


class JobKind(Enum):
    """Where the lines of a job come from."""

    LIVE = "live"
    CONTROL = "control"
    REPLAY = "replay"
    REPAIR = "repair"


class Job(Struct):
    """
    A batch on its way, and what has to be told when it has arrived.

    `entries` are the positions of records that somebody may ask about; `barriers`
    fire when the job is finished; `chunk` is what a replay job was read from, or a
    repair job, which has the copy that it is for in `repair`.
    """

    kind: JobKind
    batch: Batch
    delivery: Delivery
    entries: Sequence[tuple[int, Entry]] = ()
    barriers: Sequence[Barrier] = ()
    chunk: Chunk | None = None
    repair: Repair | None = None
    counted: bool = False
    """Whether what it delivered is in the ledger."""

    @property
    def pending(self) -> int:
        """Records that this job keeps away from every other place they could be counted in."""
        return len(self.batch) if self.kind is JobKind.LIVE else 0


class Sorted(Struct):
    """The items of a FIFO by what they are: lines in order, entries by position, barriers."""

    lines: list[bytes] = field(default_factory=list)
    entries: list[tuple[int, Entry]] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)


def sort_items(items: Sequence[Item]) -> Sorted:
    """Return *items* sorted; padding is left out."""
    found = Sorted()
    for item in items:
        if type(item) is bytes:
            found.lines.append(item)
        elif type(item) is Entry:
            found.entries.append((len(found.lines), item))
            found.lines.append(item.line)
        elif type(item) is Barrier:
            found.barriers.append(item)
    return found


def batch_of(items: list[Item]) -> tuple[Batch, Sequence[tuple[int, Entry]], Sequence[Barrier]]:
    """
    Return the batch of *items* with the entries and barriers among them.

    Where all items are lines, no Python code runs per record.
    """
    if {bytes}.issuperset(map(type, items)):
        return Batch(items), (), ()  # type: ignore[arg-type]
    found = sort_items(items)
    return Batch(found.lines), found.entries, found.barriers


def fates(job: Job, tiers: Sequence[object]) -> dict[int, Fate]:
    """Return the fate of each settled position of *job*."""
    found: dict[int, Fate] = {}
    for settled in job.delivery.settled:
        tier = tiers[settled.tier]
        held = tier.kind is Kind.HOLDING  # type: ignore[attr-defined]
        fate = Fate(State.HELD if held else State.DELIVERED, tier.name)  # type: ignore[attr-defined]
        for index in settled.indices:
            found[index] = fate
    return found


def numbered(line: bytes) -> tuple[str, int, str]:
    """Return stream, number and level of a canonical *line*, as the ledger notes a drop."""
    key = identify(line)
    parsed = parse_id(key) if key is not None else None
    if parsed is None:
        return "?", 0, "?"
    start = line.find(b'"level":"') + 9
    level = line[start : line.find(b'"', start)].decode()
    return parsed.stream, parsed.n, level


def weight(lines: Sequence[bytes]) -> int:
    """Return how many of *lines* count in the ledger; control records do not."""
    return sum(map(weigh, lines))
