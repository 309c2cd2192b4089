"""
What must hold for bytes that nobody vouches for: whatever reads them neither crashes, nor
takes memory without bound, nor loses what is whole beside the damage.

`TARGETS` has a check for each kind of file, and the whole files it begins with.
test_untrusted.py damages these with hypothesis; `make fuzz` lets a fuzzer do that which
watches which branches it reaches.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from fallbacks.dead_letters import Letter, encode
from fallbacks.held import HeldStore
from fallbacks.journal import adopt
from hydra.cli import main
from hydra.config import load
from hydra.core.exceptions import ConfigurationError
from hydra.core.ids import identify, weigh
from tests.cli.logfiles import (
    RUN,
    clean,
    frame,
    journal_ack,
    journal_header,
    journal_record,
    records,
)

GOLDEN = Path(__file__).parent.parent / "golden"
MIB = 1024 * 1024
# What reading a small file may take; buffers of a chunk, a line and a window are in it.
BOUND = 32 * MIB

JOURNAL = f"shop.00000000.999999.1.{RUN}.1.j"
HELD = f"app.{RUN}-1.held"
DEAD = "app.dead"
LOG = "app.log"
HEAD = (
    b'{"hydra":"held","version":1,"app":"shop","destination":"app","run":"%b","scan":null}\n'
    % RUN.encode()
)


def letters() -> bytes:
    """Return a file of dead letters."""
    return b"".join(
        encode(Letter(line, f"{RUN}.3r-{n}", "file", "refused", n, "shop", "app"))
        for n, line in enumerate(records("3r", range(1, 6)), 1)
    )


FILES = {
    JOURNAL: journal_header()
    + b"".join(journal_record("1g", n) for n in range(1, 6))
    + journal_ack([f"{RUN}.1g:1-1"]),
    HELD: HEAD + b"".join(records("2r", range(1, 6))),
    DEAD: letters(),
    LOG: b"".join(clean()),
}
CONFIG = {
    ".toml": b'app = "shop"\nlevel = "info"\n[queue]\nrecords = 10\nbytes = "1 MiB"\n'
    b'[[destinations]]\npath = "a.log"\ntimeout = 1.5\nsince = 2026-11-21T01:44:00Z\n',
    ".json": b'{"app": "shop", "queue": {"records": 10}, "destinations": [{"path": "a.log"}]}',
    ".yaml": b"app: shop\nqueue: {records: 10}\nsince: 2026-11-21\ndestinations:\n- path: a.log\n",
}


@contextmanager
def bounded(most: int = BOUND) -> Iterator[None]:
    """Fail when more memory than *most* is taken at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak:,} bytes"


@contextmanager
def place(files: dict[str, bytes]) -> Iterator[Path]:
    """Give a directory with *files*."""
    directory = Path(tempfile.mkdtemp(prefix="untrusted-"))
    try:
        for name, data in files.items():
            (directory / name).write_bytes(data)
        yield directory
    finally:
        shutil.rmtree(directory)


def command(*arguments: object) -> str:
    """Run `hydra` and return what it says; it may refuse, it may not crash."""
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in {0, 1, 2}, result.output
    return result.output


@cache
def carriers(name: str) -> dict[bytes, bytes]:
    """Return the lines of the file *name* that are due, each with the bytes that carry it."""
    if name == JOURNAL:
        lines = enumerate(records("1g", range(2, 6)), 2)
        return {line: journal_record("1g", n) for n, line in lines}
    if name == HELD:
        return {line: b"\n" + line for line in records("2r", range(1, 6))}
    if name == DEAD:
        carried = [b"\n" + line for line in letters().splitlines(keepends=True)]
        return dict(zip(records("3r", range(1, 6)), carried, strict=True))
    return {line: b"\n" + line for line in clean()}


def intact(name: str, damaged: bytes) -> list[bytes]:
    """
    Return the lines of the file *name* that stand in *damaged* as they were, and are still due:
    an acknowledgement that is whole counts, wherever it came from.
    """
    due = 0
    if name == HELD:
        due = max(map(_acknowledged, re.finditer(rb'(?<![^\n]){"hydra":.*\n', damaged)), default=0)
    if name == JOURNAL and any(
        ack != FILES[JOURNAL][-len(ack) :] and ack == frame(b"A", payload)
        for ack, payload in re.findall(rb"(?=(\nJ1 A \S+ \d+ (.*)\n))", damaged)
    ):
        return []
    data = b"\n" + damaged
    return [line for line, carrier in carriers(name).items() if data.find(carrier, due) >= 0]


def _acknowledged(own: re.Match[bytes]) -> int:
    try:
        facts = json.loads(own[0])
        offset = int(facts["offset"]) if facts["hydra"] == "ack" else 0
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
    line_ends = b"\n" in own.string[max(0, offset - 1) : offset + 1]
    return offset if line_ends and 0 < offset <= own.start() else 0


def verbs(name: str, data: bytes) -> None:
    """
    Audit, the lists and replay end with a status of their own; what is whole is in the
    target afterwards, or its file is still there.
    """
    with place({name: data}) as directory, bounded():
        command("audit", directory / name)
        command("journal", "list", "--json", directory)
        command("replay", "--dead-letters", "--list", directory)
        target = directory / "target.log"
        command("replay", "--to", target, directory)
        command("replay", "--dead-letters", "--to", target, directory)
        left = [path for path in directory.iterdir() if path != target]
        found = target.read_bytes() if target.exists() else b""
        missing = [line for line in intact(name, data) if (identify(line) or b"") not in found]

        assert left or not missing


def nonsense(data: bytes) -> None:
    """Frames of the journal whose checksums are right and whose contents are anything."""
    frames = re.split(rb"\n", data)
    verbs(JOURNAL, b"".join(frame(each[:1], each[1:]) for each in frames))


def audit(name: str, data: bytes) -> None:
    """The audit of a file ends with a verdict, or refuses the file."""
    with place({name: data}) as directory, bounded():
        command("audit", directory / name)


def held(directory: Path) -> HeldStore:
    """Return the store of a new run in *directory*."""
    return HeldStore(
        str(directory / "app"),
        app="shop",
        destination="app",
        run="fresh0000000",
        identify=identify,
        weigh=weigh,
    )


def start(name: str, data: bytes) -> None:
    """Recovery and the held store take over what is whole, or leave the file where it is."""
    with place({name: data}) as directory, bounded():
        store = held(directory)
        store.adopt()
        for recovered in adopt(str(directory), app="shop", destinations=["app"]):
            store.import_lines(recovered.run, recovered.pending.get("app", []), None)
            recovered.finish()
        found: list[bytes] = []
        while (chunk := store.lines(100, MIB)) is not None:
            found += chunk.lines
            store.acknowledge(chunk)
        store.close()
        # By id: a damaged twin of a whole line may have been taken for it.
        missing = set(map(identify, intact(name, data))) - set(map(identify, found))

        assert not missing or any(path.name.startswith(name) for path in directory.iterdir())


def configuration(ending: str, data: bytes) -> None:
    """Whatever is in a configuration file, it gives settings or a ConfigurationError."""
    with place({"hydra" + ending: data}) as directory, bounded():
        try:
            load(file=directory / f"hydra{ending}", environ={})
        except ConfigurationError as error:
            assert error.problems  # noqa: PT017 - a fuzzer has no pytest.


class Target(NamedTuple):
    """A check of the bytes of one file, and whole files to begin with."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def golden(name: str) -> bytes:
    """Return the golden file *name*."""
    return (GOLDEN / name).read_bytes()


# The frames of the journal, one a line: kind and payload.
FRAMES = b"\n".join(
    kind + payload for kind, payload in re.findall(rb"\nJ1 (.) \S+ \d+ (.*)\n", FILES[JOURNAL])
)
TARGETS = {
    "journal": Target(partial(verbs, JOURNAL), (FILES[JOURNAL], golden("journal-v1.j"))),
    "held": Target(partial(verbs, HELD), (FILES[HELD], golden("held-v1.held"))),
    "dead": Target(partial(verbs, DEAD), (FILES[DEAD], golden("dead-v1.dead"))),
    "log": Target(partial(audit, LOG), (FILES[LOG], golden("lines.v1.ndjson"))),
    "archive": Target(partial(audit, LOG + ".gz"), (gzip.compress(FILES[LOG], mtime=0),)),
    "frames": Target(nonsense, (FRAMES,)),
    "recovery": Target(partial(start, JOURNAL), (FILES[JOURNAL], golden("journal-v1.j"))),
    "adoption": Target(partial(start, HELD), (FILES[HELD], golden("held-v1.held"))),
    **{
        ending[1:]: Target(partial(configuration, ending), (data,))
        for ending, data in CONFIG.items()
    },
}
