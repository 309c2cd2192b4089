# A look at a file and an append to it, in one step: see native/append.c in the source tree.

def append_known(
    fd: int, path: str, key: tuple[int, int], size: int, data: bytes, wanted: bytes | bytearray, /
) -> int | None: ...
