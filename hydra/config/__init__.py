"""Configuration: one shape for keywords, mappings, files and the environment."""

from __future__ import annotations

from ._destination import Destination
from ._load import load, load_or_default
from ._presets import PRESETS
from ._scoped import scoped
from ._settings import (
    DestinationSettings,
    FallbackSettings,
    HookSettings,
    JournalSettings,
    LayerSettings,
    QueueSettings,
    RedactSettings,
    Settings,
)
from ._state import Refusal, StateDirectory, state_directory

__all__ = [
    "PRESETS",
    "Destination",
    "DestinationSettings",
    "FallbackSettings",
    "HookSettings",
    "JournalSettings",
    "LayerSettings",
    "QueueSettings",
    "RedactSettings",
    "Refusal",
    "Settings",
    "StateDirectory",
    "load",
    "load_or_default",
    "scoped",
    "state_directory",
]
