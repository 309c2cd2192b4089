from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

from .adapter import Peer, Promises, Read, itself, read_json

_PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

# Seconds; that of a figure ends earlier, or later, as it likes.
_PATIENCE = 3600.0


class HydraLog(Peer):
    """Hydra as it comes: a JSON file, the journal on, nothing set but where to write."""

    name = "hydra"
    package = "hydra-log"
    # The package itself imports next to nothing until a name of it is asked for.
    modules = ("hydra", "hydra.logger")
    page = "docs/tutorial.md"
    promises = Promises(structured=True, queued=True, awaited=True, acks=True)

    def version(self) -> str:
        # The tree beside this one, installed or not.
        with open(_PROJECT, "rb") as project:
            version: str = tomllib.load(project)["project"]["version"]
        return version

    def setup(self, path: str, level: str, also: Sequence[str] = ()) -> None:
        self._configure(
            level,
            [
                {"name": f"file{number}", "type": "file", "path": name}
                for number, name in enumerate((path, *also))
            ],
        )

    def setup_stream(self, stream: TextIO, level: str) -> None:
        import hydra

        if stream is sys.stdout:
            self._configure(level, [{"type": "console", "stream": "stdout"}])
        else:
            # docs/how-to/write-a-sink.md
            def send(lines: Sequence[bytes]) -> None:
                stream.buffer.write(b"".join(lines))
                stream.buffer.flush()

            self._configure(level, [hydra.Destination(send, name="stream")])

    def _configure(self, level: str, destinations: list[Any]) -> None:
        import hydra

        hydra.configure(app="bench", level=level, destinations=destinations)
        self._log = hydra.get_logger("bench")
        self._take(itself, self._log)

    def bound(self, **fields: object) -> Callable[..., Any]:
        return self._log.bind(**fields).info

    def context(self, **fields: object) -> AbstractContextManager[object]:
        import hydra

        return hydra.context(**fields)

    def close(self) -> None:
        import hydra

        hydra.close(timeout=_PATIENCE)

    async def aclose(self) -> None:
        import hydra

        await hydra.aclose(timeout=_PATIENCE)

    def parse(self, line: bytes) -> Read:
        # The totals at a clean close, and counted drops.
        if b'"logger":"hydra.ledger"' in line and json.loads(line)["logger"] == "hydra.ledger":
            return None
        return read_json(line)
