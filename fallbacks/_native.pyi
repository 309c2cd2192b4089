# A look at a file and an append to it, in one step: see native/append.c in the source tree.

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
