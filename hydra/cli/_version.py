"""
Which Hydra this is.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final

DISTRIBUTION: Final = "hydra-log"


def installed_version(distribution: str = DISTRIBUTION) -> str | None:
    """Return the installed version of *distribution*; None when it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def version_line() -> str:
    """Return what `hydra --version` prints."""
    version = installed_version() or "(not installed, run from source)"
    return f"hydra {version}, Python {platform.python_version()}"
