"""
For tests: whether a sink or an encoder of your own keeps the rules that hydra relies on.

No part of `import hydra`; import it in tests.
"""

from __future__ import annotations

from fallbacks.testing import Case, Nonconforming, Verdict, Violation

from ._corpus import canonical_lines
from ._encoder import check_encoder, encoder_cases
from ._sink import check_sink, sink_cases

__all__ = [
    "Case",
    "Nonconforming",
    "Verdict",
    "Violation",
    "canonical_lines",
    "check_encoder",
    "check_sink",
    "encoder_cases",
    "sink_cases",
]
