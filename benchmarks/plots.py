"""
Small SVG pictures of figures: bars, lines. No library, so that a page can be made anywhere.

Colours are those of a reader's light or dark page: text takes `currentColor` of the picture's
own style sheet, hydra has a colour of its own, everybody else is grey or one of a few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

WIDTH: Final = 720
_ROW: Final = 22
_LABEL: Final = 150
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#333}.g{stroke:#ccc;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#444}}"
)
_OURS: Final = "#c2410c"
_GREY: Final = "#94a3b8"
_COLOURS: Final = ("#2563eb", "#059669", "#7c3aed", "#be123c", "#0891b2", "#a16207", "#4d7c0f")


def bars(title: str, unit: str, values: dict[str, float], ours: str) -> str:
    """Return horizontal bars, longest first, with the number at the end of each."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    most = max(values.values(), default=0.0) or 1.0
    room = WIDTH - _LABEL - 90
    parts = []
    for row, (name, value) in enumerate(ordered):
        y = 34 + row * _ROW
        width = max(value / most * room, 1.0)
        colour = _OURS if name == ours else _GREY
        parts += [
            _text(_LABEL - 8, y + 12, name, "end"),
            f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="15" fill="{colour}"/>',
            _text(_LABEL + width + 6, y + 12, f"{short(value)} {unit}".strip()),
        ]
    return _picture(title, 40 + len(ordered) * _ROW, parts)


def lines(
    title: str, unit: str, ticks: Sequence[str], values: dict[str, list[float]], ours: str
) -> str:
    """
    Return a line for each of *values* over *ticks*, on a logarithmic scale.

    The scale is what percentiles need: the tail of one is the middle of another.
    """
    every = [value for line in values.values() for value in line if value > 0]
    if not every:
        return _picture(title, 60, [_text(10, 45, "no figures")])
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    high = max(high, low + 1)
    top, height, left, right = 34, 300, 60, WIDTH - 170

    def x(index: int) -> float:
        return left + (right - left) * index / max(len(ticks) - 1, 1)

    def y(value: float) -> float:
        return top + height * (high - math.log10(max(value, 10.0**low))) / (high - low)

    parts = []
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts += [
            f'<line class="g" x1="{left}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>',
            _text(left - 6, at + 4, short(10.0**power), "end"),
        ]
    parts += [_text(x(i), top + height + 18, tick, "middle") for i, tick in enumerate(ticks)]
    names = sorted(values, key=lambda name: -values[name][-1])
    others = [name for name in names if name != ours]
    looks = {name: _look(number) for number, name in enumerate(others)}
    looks[ours] = f'stroke="{_OURS}" stroke-width="3"'
    # Ours last, on top of the others; its place in the legend is where its end is.
    for row, name in sorted(enumerate(names), key=lambda place: place[1] == ours):
        points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values[name]))
        at = top + row * 18 + 6
        parts += [
            f'<polyline points="{points}" fill="none" {looks[name]}/>',
            f'<line x1="{right + 10}" y1="{at}" x2="{right + 34}" y2="{at}" {looks[name]}/>',
            _text(right + 40, at + 4, name),
        ]
    return _picture(
        f"{title}{unit and f', {unit}'}", max(top + height + 30, top + len(names) * 18 + 10), parts
    )


def series(
    title: str,
    values: dict[str, list[tuple[float, float]]],
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """
    Return a small picture for each of *values* over the same seconds, one below the other.

    Args:
        title: Of all of them.
        values: Seconds and value, in order, by what they are.
        marks: Events, as a thin line at their second, with what it was to be pointed at.
    """
    left, right, height, gap = 60, WIDTH - 10, 70, 34
    end = max((at for points in values.values() for at, _ in points), default=0.0) or 1.0
    whole = len(values) * (height + gap)

    def x(at: float) -> float:
        return left + (right - left) * min(at / end, 1.0)

    parts = [
        f'<line class="g" x1="{x(at):.1f}" y1="30" x2="{x(at):.1f}" y2="{30 + whole - 10}">'
        f"<title>{escape(f'{at:g} s: {what}')}</title></line>"
        for at, what in marks
    ]
    for row, (name, points) in enumerate(values.items()):
        top = 46 + row * (height + gap)
        most = max((value for _, value in points), default=0.0) or 1.0
        line = " ".join(
            f"{x(at):.1f},{top + height * (1 - value / most):.1f}" for at, value in points
        )
        parts += [
            _text(left, top - 6, name),
            _text(left - 6, top + 10, short(most), "end"),
            _text(left - 6, top + height, "0", "end"),
            f'<line class="g" x1="{left}" y1="{top + height}" x2="{right}" y2="{top + height}"/>',
            f'<polyline points="{line}" fill="none" stroke="{_OURS}" stroke-width="1.5"/>',
        ]
    parts.append(_text(right, 46 + whole - 12, f"{short(end)} s", "end"))
    return _picture(title, 50 + whole, parts)


def short(value: float) -> str:
    """Return *value* with three figures that count, as people write it."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} M"
    if abs(value) >= 1_000:
        digits = max(0, 3 - len(str(int(abs(value)))))
        return f"{round(value, -(len(str(int(abs(value)))) - 3)):,.{digits}f}"
    return f"{value:.3g}"


def _look(number: int) -> str:
    """Return how the line of the nth library is drawn; no two of the first 21 are alike."""
    again, colour = divmod(number, len(_COLOURS))
    dashes = ("", ' stroke-dasharray="6 3"', ' stroke-dasharray="2 2"')[again % 3]
    return f'stroke="{_COLOURS[colour]}" stroke-width="1.5"{dashes}'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _picture(title: str, height: float, parts: list[str]) -> str:
    heading = f'<text x="4" y="18" font-weight="bold">{escape(title)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'role="img" aria-label="{escape(title, quote=True)}">\n<style>{_STYLE}</style>\n'
        + "\n".join([heading, *parts])
        + "\n</svg>\n"
    )
