"""
Encoders: renderings of the canonical line, as pure functions from bytes to bytes.
"""

from __future__ import annotations

from typing import Final

from ._escape import escape
from ._text import Encoder, colored, plain, text

__all__ = ["FORMATS", "Encoder", "encoder", "escape", "json", "plain", "text"]


def json(line: bytes) -> bytes:
    """Return the canonical *line* itself; the format for machines."""
    return line


FORMATS: Final[dict[str, Encoder]] = {"json": json, "plain": plain, "text": text}


def encoder(name: str, *, color: bool = False) -> Encoder:
    """
    Return the rendering called *name*.

    Args:
        name: `json`, `plain` or `text`.
        color: Whether the output is a terminal that shows colours. Only `text` has any.

    Raises:
        ValueError: If there is no such rendering; the message names the choices.
    """
    found = FORMATS.get(name)
    if found is None:
        raise ValueError(f"unknown format {name!r}; choose one of {', '.join(FORMATS)}")
    return colored if color and found is text else found
