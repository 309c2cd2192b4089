from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import IO, Any, TextIO

from .adapter import MESSAGE, Peer, Promises, Read, read_json


class Floor(Peer):
    """`orjson.dumps` of the same dict and a buffered write: no levels, no time format, no lock."""

    name = "floor"
    package = "orjson"
    modules = ("orjson",)
    page = "https://github.com/ijl/orjson#serialize"
    promises = Promises(structured=True)

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        self._open([open(name, "ab") for name in (path, *also)])

    def setup_stream(self, stream: TextIO, level: str) -> None:
        self._open([stream.buffer])

    def _open(self, files: list[Any]) -> None:
        import orjson

        self._files: list[IO[bytes]] = files
        dumps, newline, now = orjson.dumps, orjson.OPT_APPEND_NEWLINE, time.time
        writes = [file.write for file in files]

        def caller(level: str) -> Any:
            def log(message: str = MESSAGE, **fields: object) -> None:
                fields = {"timestamp": now(), "level": level, "message": message, **fields}
                line = dumps(fields, option=newline)
                for write in writes:
                    write(line)

            return log

        self.info, self.error, self.critical = map(caller, ("info", "error", "critical"))
        self.debug = _nothing

    def close(self) -> None:
        for file in self._files:
            file.flush()
            if file is not sys.stdout.buffer:
                file.close()

    def parse(self, line: bytes) -> Read:
        return read_json(line)


def _nothing(message: str, **fields: object) -> None:
    """Take what a call takes."""
