"""
Draw breaker and plan from the tables that they run by.

Run without arguments to redraw docs/design/plan.md between its markers; with
`--check` to change nothing and fail when the page is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "design" / "plan.md"
_BLOCK: Final = re.compile(
    r"(<!-- picture: (?P<name>[a-z ]+) -->\n).*?(<!-- end of picture -->)", re.DOTALL
)

sys.path.insert(0, str(ROOT))

from fallbacks import breaker, plan  # noqa: E402 - needs the path above.
from scripts._page import update  # noqa: E402 - needs the path above.


def draw_breaker() -> str:
    """Return the states of a breaker and what leads from one to the next."""
    lines = [f"    [*] --> {breaker.Breaker().state.value}"]
    for (state, event), after in breaker.MOVES.items():
        lines.append(f"    {state.value} --> {after.value}: {event.value}")
    return _mermaid("stateDiagram-v2", lines)


def draw_plan() -> str:
    """Return what the plan does after each answer, one picture for all strategies."""
    lines = []
    for strategy in plan.Strategy:
        lines.append(f"    {strategy.value}([{strategy.value}: a tier answers])")
        for answer in plan.Answer:
            place = f"{strategy.value}_{answer.value}"
            lines.append(f"    {strategy.value} --> {place}{{{answer.value}}}")
            more = plan.MOVES[strategy, answer, True]
            none = plan.MOVES[strategy, answer, False]
            if more is none:
                lines.append(f"    {place} --> {more.value}")
            else:
                lines += [
                    f"    {place} -- attempts left --> {more.value}",
                    f"    {place} -- no attempts left --> {none.value}",
                ]
    return _mermaid("flowchart LR", lines)


def tabulate_plan() -> str:
    """Return the same as a table."""
    rows = ["| strategy | answer | attempts left | move |", "|---|---|---|---|"]
    for (strategy, answer, more), move in plan.MOVES.items():
        words = "yes" if more else "no"
        rows.append(f"| {strategy.value} | {answer.value} | {words} | {move.value} |")
    return "\n".join(rows)


PICTURES: Final[Mapping[str, Callable[[], str]]] = {
    "breaker": draw_breaker,
    "plan": draw_plan,
    "plan as a table": tabulate_plan,
}


def rendered(page: str) -> str:
    """Return *page* with each marked block holding the current picture."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{PICTURES[block['name']]()}\n\n{block[3]}", page)


def shown(page: str) -> list[str]:
    """Return the names of the pictures on *page*."""
    return [block["name"] for block in _BLOCK.finditer(page)]


def _mermaid(kind: str, lines: list[str]) -> str:
    return "\n".join(["```mermaid", kind, *lines, "```"])


def main(arguments: list[str]) -> int:
    """Bring the page up to date, or say that it is not; return the exit status."""
    return update(PAGE, rendered, arguments, root=ROOT, script="draw_plan")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
