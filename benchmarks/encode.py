"""
Time the encoding of a record: the whole `body()`, and the JSON libraries beneath it.

Run it as `python benchmarks/encode.py`. Prints nanoseconds for each call: the best of many
short rounds, taken in turn, so that other work on the machine disturbs all cases alike.
The case `body, orjson` is the same method with its JSON encoder exchanged.
"""

from __future__ import annotations

import platform
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

import msgspec
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hydra.core import line
from hydra.core.levels import level_tag
from hydra.core.line import EMPTY, LineEncoder, logger_tag
from hydra.processors import Redactor

NS = 1_795_225_440_123_456_789
FIELDS = {"order_id": 42, "user": "alice", "total": 12.5, "paid": True, "path": "/api/v1/orders"}
NESTED = {"order_id": 42, "items": [{"sku": "a-1", "n": 2}, {"sku": "b-2", "n": 1}]}
ROUNDS, CALLS = 40, 20_000


def main() -> None:
    """Run all cases and print a table."""
    encoder = LineEncoder(Redactor())
    info, shop = level_tag(20), logger_tag("shop")
    bound = encoder.fragment({"service": "api", "version": "1.2.3"})
    body, own = encoder.body, line.encode
    cases: dict[str, Callable[[], object]] = {
        "body, no fields": lambda: body(NS, info, shop, "order placed", EMPTY, EMPTY, {}),
        "body, 5 fields": lambda: body(NS, info, shop, "order placed", EMPTY, EMPTY, FIELDS),
        "body, 5 fields, orjson": lambda: body(
            NS, info, shop, "order placed", EMPTY, EMPTY, FIELDS
        ),
        "body, 5 fields, 2 bound": lambda: body(
            NS, info, shop, "order placed", bound, EMPTY, FIELDS
        ),
        "body, nested field": lambda: body(NS, info, shop, "order placed", EMPTY, EMPTY, NESTED),
        "msgspec, 5 fields alone": lambda: own(FIELDS),
        "orjson, 5 fields alone": lambda: orjson.dumps(FIELDS),
        "msgspec, message alone": lambda: own("order placed"),
        "orjson, message alone": lambda: orjson.dumps("order placed"),
    }
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(ROUNDS):
        for name, case in cases.items():
            line._encode = orjson.dumps if name.endswith(", orjson") else own  # type: ignore[misc]
            best[name] = min(best[name], timeit.timeit(case, number=CALLS) / CALLS * 1e9)
    line._encode = own  # type: ignore[misc]
    print(f"Python {platform.python_version()}, msgspec {msgspec.__version__}, ", end="")
    print(f"orjson {orjson.__version__}, {platform.machine()}")
    for name, nanoseconds in best.items():
        print(f"{name:<26}{nanoseconds:>8.0f} ns")


if __name__ == "__main__":
    main()
