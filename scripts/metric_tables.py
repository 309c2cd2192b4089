"""
Write the tables of docs/reference/metrics.md from the code.

Run it without arguments to rewrite the page between its markers; with `--check`
to change nothing and fail when the page is out of date.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "metrics.md"
_BLOCK: Final = re.compile(
    r"(<!-- metrics: (?P<table>\w+) -->\n).*?(<!-- end of metrics -->)", re.DOTALL
)

sys.path.insert(0, str(ROOT))

from hydra.metrics import (  # noqa: E402 - needs the path above.
    DestinationStats,
    HookStats,
    JournalStats,
    Stats,
    TierStats,
    render,
)
from scripts._page import update  # noqa: E402 - needs the path above.

CLASSES: Final = {
    found.__name__: found for found in (Stats, DestinationStats, TierStats, JournalStats, HookStats)
}

# A test compares these with the constants of the engine.
REASONS: Final[dict[str, str]] = {
    "queue_full": "The queue was full, and nobody may wait, or the time to wait was over.",
    "evicted": "The queue was full and this the oldest record in it (`drop_old`).",
    "shed": "The queue was nearly full, and records of this level make room (`shed`).",
    "park_full": "On an event loop: the queue was full, and no more lines could be parked.",
    "discarded": "On an event loop: the line was parked, and nobody kept its receipt.",
    "cancelled": "On an event loop: the task that awaited the parked line was cancelled.",
    "no_memory": "There was no memory for the line.",
    "closed": "The time for the close, or for the end of the process, was over.",
    "dead_letter": "The destination said that it will never take this record; "
    "it is [kept aside](../how-to/dead-letters.md).",
    "refused": "The same, and it could not be kept aside: no room, no state directory.",
    "quota": "No tier took it, and the files of held records have used up their quota.",
    "journal_unreadable": "Only the journal had the record, and could not be read.",
}


def table(name: str) -> str:
    """Return the Markdown table called *name*."""
    if name == "prometheus":
        return _markdown(("metric", "type", "labels", "meaning"), _families())
    if name == "reasons":
        return _markdown(("reason", "what happened"), ((f"`{k}`", v) for k, v in REASONS.items()))
    return _markdown(("field", "type", "meaning"), _fields(CLASSES[name]))


def rendered(page: str) -> str:
    """Return *page* with each marked block holding the current table."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{table(block['table'])}\n\n{block[3]}", page)


def _families() -> Iterator[tuple[str, ...]]:
    """Yield a row for each metric, as an engine with one destination exports it."""
    tier = TierStats(
        name="file", kind="final", delivered=0, attempts=0, failed=0, state="closed", opened=0,
        p50=0.0, p99=0.0, last_error=None, throughput=0.0, latency=((math.inf, 0),),
    )  # fmt: skip
    destination = DestinationStats(
        name="app", accepted=0, delivered=0, pending=0, dropped=0, held=0, replayed=0, lost=0,
        queued=0, queued_bytes=0, high_water=0, parked=0, spilled=0, blocked_seconds=0.0,
        mode="new", rescues=0, crashes=0, tiers=(tier,),
    )  # fmt: skip
    stats = Stats(destinations={"app": destination}, drops={("info", "queue_full"): 0})
    said = kind = ""
    for line in render(stats).splitlines():
        if line.startswith("# HELP "):
            said = line.split(" ", 3)[3]
        elif line.startswith("# TYPE "):
            kind = line.split(" ")[3]
        else:
            labels = ", ".join(f"`{label}`" for label in re.findall(r'(\w+)="', line))
            yield f"`{re.split('[{ ]', line)[0]}`", kind, labels, said


def _fields(found: type) -> Iterator[tuple[str, ...]]:
    """Yield a row for each field: its annotation and the text below it, if it has any."""
    (tree,) = ast.parse(inspect.getsource(found)).body
    assert isinstance(tree, ast.ClassDef)
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.AnnAssign):
            below = tree.body[number + 1] if number + 1 < len(tree.body) else None
            doc = (
                str(below.value.value)
                if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                else _WORDS.get(ast.unparse(node.target), "")
            )
            yield (
                f"`{ast.unparse(node.target)}`",
                f"`{ast.unparse(node.annotation)}`",
                " ".join(doc.split()),
            )


# Fields whose name says it to whoever reads the class, but not to whoever reads a table.
_WORDS: Final = {
    "accepted": "Deliveries taken in.",
    "attempts": "How often it was given a batch.",
    "balanced": "Whether everything is accounted for.",
    "bytes": "Bytes that they have reserved.",
    "delivered": "Deliveries that a final tier took.",
    "destinations": "By name.",
    "directory": "Where it is.",
    "dropped": "Deliveries that were given up; see the reasons above.",
    "held": "Deliveries in files of ours that wait for replay.",
    "hooks": "See below.",
    "journal": "See below.",
    "last_error": "What the last failure said.",
    "name": "Its name.",
    "parked": "Lines parked in front of the queue.",
    "pending": "Queued, parked, in flight, held or in the journal.",
    "p99": "As `p50`, for 99 of 100 attempts.",
    "queued_bytes": "Their bytes.",
    "quota": "Bytes that all segments together may have.",
    "replayed": "Deliveries that were held before.",
    "segments": "How many files it has.",
    "strategy": "How the tiers are used.",
    "tiers": "As they are configured, the repair stores of copies last.",
}


def _markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in lines
    )


def main(arguments: list[str]) -> int:
    """Bring the page up to date, or say that it is not; return the exit status."""
    return update(PAGE, rendered, arguments, root=ROOT, script="metric_tables")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
