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

from fallbacks import breaker, moves, strategy  # noqa: E402 - needs the path above.
from scripts._page import update  # noqa: E402 - needs the path above.


def draw_breaker() -> str:
    """Return the states of a breaker and what leads from one to the next."""
    lines = [f"    [*] --> {breaker.Breaker().state.value}"]
    for (state, event), after in breaker.MOVES.items():
        lines.append(f"    {state.value} --> {after.value}: {event.value}")
    return _mermaid("stateDiagram-v2", lines)


def draw_routes() -> str:
    """Return the order in which each strategy asks the tiers."""
    lines = []
    for each, legs in strategy.ROUTES.items():
        ways = [f"{each.value}_{leg.name.lower()}[{leg.value}]" for leg in legs]
        lines.append(f"    {' --> '.join([f'{each.value}([{each.value}])', *ways])}")
    return _mermaid("flowchart LR", lines)


def draw_plan() -> str:
    """Return what the plan does after each answer; strategies that do the same share a picture."""
    lines = []
    for group in _groups():
        root = group[0].value
        names = ", ".join(each.value for each in group)
        lines.append(f"    {root}([{names}: a tier answers])")
        for answer in moves.Answer:
            place = f"{root}_{answer.name.lower()}"
            lines.append(f"    {root} --> {place}{{{answer.value}}}")
            more = moves.MOVES[group[0], answer, True]
            none = moves.MOVES[group[0], answer, False]
            if more is none:
                lines.append(f"    {place} --> {root}_{more.value}[{more.value}]")
            else:
                lines += [
                    f"    {place} -- attempts left --> {root}_{more.value}[{more.value}]",
                    f"    {place} -- no attempts left --> {root}_{none.value}[{none.value}]",
                ]
    return _mermaid("flowchart LR", lines)


def tabulate_plan() -> str:
    """Return the same as a table, a column for each strategy."""
    names = [each.value for each in strategy.Strategy]
    rows = [
        f"| answer | attempts left | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for answer in moves.Answer:
        for more in (True, False):
            found = [moves.MOVES[each, answer, more].value for each in strategy.Strategy]
            rows.append(f"| {answer.value} | {'yes' if more else 'no'} | {' | '.join(found)} |")
    return "\n".join(rows)


def _groups() -> list[list[strategy.Strategy]]:
    """Return the strategies, those with the same rows together."""
    groups: dict[tuple[object, ...], list[strategy.Strategy]] = {}
    for each in strategy.Strategy:
        rows = tuple(
            moves.MOVES[each, answer, more] for answer in moves.Answer for more in (True, False)
        )
        groups.setdefault(rows, []).append(each)
    return list(groups.values())


PICTURES: Final[Mapping[str, Callable[[], str]]] = {
    "breaker": draw_breaker,
    "routes": draw_routes,
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
