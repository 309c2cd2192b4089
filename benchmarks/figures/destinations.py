from __future__ import annotations

import time
from typing import Any, Final

from ..producing import PATH, need_plain, produce
from . import Adapter, Measured, Metric, Scale

TITLE: Final = "Several destinations"
NOTE: Final = "Records a second as above, when each of them goes to 2, 4 or 8 files; all are read."
METRICS: Final = {"rate": Metric("records a second", "1/s", more=True)}


def cases(scale: Scale) -> dict[str, dict[str, Any]]:
    return {f"{number} files": {"seconds": scale.seconds, "files": number} for number in (2, 4, 8)}


def program(adapter: Adapter, seconds: float, files: int) -> Measured:
    need_plain(adapter)
    also = [f"also{number}.jsonl" for number in range(files - 1)]
    adapter.setup(PATH, "info", also)
    began = time.perf_counter()
    count = produce(adapter.info, seconds)
    adapter.close()
    took = time.perf_counter() - began
    return Measured({"rate": count / took}, path=PATH, counts=[count], copies=also)
