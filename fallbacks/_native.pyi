# What waits for the system, compiled: see native/fallbacks.c in the source tree.

from collections.abc import Sequence

def append_known(
    fd: int,
    path: str,
    key: tuple[int, int],
    size: int,
    lines: Sequence[bytes],
    wanted: bytes | bytearray,
    /,
) -> tuple[int, int] | None: ...
def claim(seconds: float, /) -> None: ...
def waive() -> bool: ...
def hand_over() -> None: ...
