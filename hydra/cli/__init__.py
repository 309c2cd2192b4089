"""
The `hydra` command. Click is imported here and nowhere else in the package.
"""

from __future__ import annotations

from ._main import main

__all__ = ["main"]
