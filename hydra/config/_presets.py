"""
Presets: whole configurations under one word, made of options that all exist.

A preset stands right above the defaults: any other source overrules it, and a list
of destinations given elsewhere takes the place of the preset's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

Preset: TypeAlias = Callable[[str], Mapping[str, object]]


def development(_app: str) -> Mapping[str, object]:
    """Everything from `debug` up as text on standard error, with the place of each call."""
    return {
        "level": "debug",
        "callsite": True,
        "destinations": [{"type": "console", "format": "text"}],
    }


def production(app: str) -> Mapping[str, object]:
    """JSON lines from `info` up in `logs/<app>.log`; warnings and above on standard error, too."""
    return {
        "level": "info",
        "destinations": [
            {"type": "file", "path": f"logs/{app}.log", "format": "json"},
            {"type": "console", "level": "warning"},
        ],
    }


def service(_app: str) -> Mapping[str, object]:
    """JSON lines from `info` up on standard output, for a supervisor that collects it."""
    return {
        "level": "info",
        "destinations": [{"type": "console", "stream": "stdout", "format": "json"}],
    }


def script(_app: str) -> Mapping[str, object]:
    """Text from `info` up on standard error, without control records among it."""
    return {
        "level": "info",
        "control_records": False,
        "destinations": [{"type": "console", "format": "text"}],
    }


PRESETS: Final[dict[str, Preset]] = {
    "development": development,
    "production": production,
    "service": service,
    "script": script,
}
