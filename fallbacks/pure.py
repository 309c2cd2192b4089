"""
Whether to do without what is compiled: asked once, here, for both packages.

Rule: `HYDRA_PURE_PYTHON`, set to anything but 0, turns everything compiled off. An empty
variable is not set.
"""

from __future__ import annotations

import os
from typing import Final

SWITCH: Final = "HYDRA_PURE_PYTHON"
PURE: Final = os.environ.get(SWITCH, "") not in {"", "0"}
"""Whether the environment asks for a process without anything compiled."""
