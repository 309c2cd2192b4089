"""
Names: what each destination is called, and which file is whose.

Rule 1: a name that is given stays; one that is made up gives way.
Rule 2: two writers of one file would tear each other's lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ._values import NAME


class Names:
    """
    The names and files that are taken.

    Args:
        problem: Told the option, what is wrong with it, and its value.
    """

    def __init__(self, problem: Callable[[str, str, object], object]) -> None:
        self._problem = problem
        self._names: dict[str, str] = {}
        self._paths: dict[str, tuple[str, bool]] = {}

    def give(self, drafts: list[tuple[str, dict[str, object]]]) -> None:
        """Give a name to each destination without one; report names used twice."""
        for where, draft in drafts:
            if "name" in draft:
                name = str(draft["name"])
                if (first := self._names.setdefault(name, where)) != where:
                    self._problem(f"{where}.name", f"is the name of {first} already", name)
        for where, draft in drafts:
            if "name" not in draft:
                stem, name, number = _stem(draft), _stem(draft), 1
                while name in self._names:
                    number += 1
                    name = f"{stem[:60]}-{number}"
                self._names[name] = where
                draft["name"] = name

    def claim(self, where: str, draft: Mapping[str, object]) -> None:
        """Report a file that is written by two destinations, or held files beside it."""
        claims: list[tuple[str, object, bool]] = [(f"{where}.path", draft.get("path"), False)]
        fallbacks = draft.get("fallback")
        if isinstance(fallbacks, tuple):
            claims += [
                (f"{where}.fallback[{index}].path", fallback.path, fallback.hold)
                for index, fallback in enumerate(fallbacks)
            ]
        mine: set[str] = set()
        for place, path, is_held in claims:
            if not isinstance(path, str):
                continue
            real = os.path.realpath(path)
            first, first_is_held = self._paths.setdefault(real, (place, is_held))
            # Destinations may hold their lines under one prefix, as each held file
            # has a name of its own. Anything else would mix two writers.
            if first != place and (not (is_held and first_is_held) or real in mine):
                self._problem(place, f"is taken: {first} writes it", path)
            mine.add(real)


def _stem(draft: Mapping[str, object]) -> str:
    """Return the name that a destination would like to have."""
    kind, path, sink = str(draft["type"]), draft.get("path"), draft.get("sink")
    wish = kind
    if kind == "file" and isinstance(path, str):
        wish = os.path.splitext(os.path.basename(path))[0]
    elif kind == "sink":
        wish = str(getattr(sink, "__name__", None) or type(sink).__name__)
    return safe_name(wish) or kind


def safe_name(wish: str) -> str:
    """Return *wish* with all that a name cannot have replaced by a dash; may be empty."""
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "-"
        for letter in wish
    )
    name = kept.lstrip(".").strip("-")[:64]
    return name if NAME.fullmatch(name) else ""
