# The call path for plain records, compiled: see native/ in the source tree.

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from mmap import mmap
from typing import Any, Final

from ..core._names import Names
from ..core.line import Fragment, LineEncoder
from ..queue import Fifo, Item
from ._receipts import Receipt

# So many destinations a compiled route can have at most.
MOST_QUEUES: Final[int]

# Have the next Ready that is awaited return what this function does, unless there is such a way
# to go already.
def let_way(give_way: Callable[[], Iterator[object]], /) -> None: ...
def forget_way() -> None: ...

# What can be awaited and has nothing to wait for.
class Ready:
    def __await__(self) -> Generator[object]: ...

# A function that logs plain records, in front of one that knows every case.
class Route:
    def __init__(
        self,
        *,
        careful: Callable[[Any, object, tuple[object, ...], dict[str, object]], Receipt],
        encoder: LineEncoder,
        names: Names,
        encode: Callable[[object], bytes],
        context: ContextVar[Any],
        time_ns: Callable[[], int],
        middle: bytes,
        prefix: bytes,
        numbers: Iterator[int],
        queues: tuple[Fifo, ...],
        entries: tuple[deque[Item], ...],
        appends: tuple[Callable[[Item], None], ...],
        send: Callable[[bytes], Receipt] | None,
        room: int,
        lost: Callable[[int, int], None],
        empty: Fragment,
        queued: Receipt,
        dropped: Receipt,
        home: mmap,
    ) -> None: ...
    def __call__(
        self, log: Any, message: object, args: tuple[object, ...], fields: dict[str, object], /
    ) -> Receipt: ...

# A method that logs at one level, in front of the Python function that it stands for.
class LevelMethod:
    def __init__(self, function: Callable[..., object], level: int, filtered: Receipt) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Receipt: ...
