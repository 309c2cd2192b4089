"""
Bytes that nobody vouches for: whatever reads them neither crashes, nor takes memory without
bound, nor loses what is whole beside the damage.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

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
    journal_ack,
    journal_header,
    journal_record,
    records,
)

pytestmark = pytest.mark.faults

GOLDEN = Path(__file__).parent.parent / "golden"
MIB = 1024 * 1024
# What reading a small file may take; buffers of a chunk, a line and a window are in it.
BOUND = 32 * MIB
EXAMPLES = 2_000 if os.environ.get("HYDRA_FUZZ") else 12

JOURNAL = f"shop.00000000.999999.1.{RUN}.1.j"
HELD = f"app.{RUN}-1.held"
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
    "app.dead": letters(),
    "app.log": b"".join(clean()),
}


@st.composite
def damages(draw, data: bytes) -> bytes:
    """Return *data* after one to three accidents."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.sampled_from((1, 2, 17, 512, 4096)))
        match draw(st.integers(0, 7)):
            case 0 if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
            case 1:
                data = data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
            case 2:
                data = data[:at]
            case 3:
                data += draw(st.binary(max_size=60))
            case 4:
                newer = draw(st.sampled_from((b"2", b"-1", b"1" * 5000, b'"1"', b"1e999")))
                data = data.replace(b'"version":1', b'"version":' + newer)
            case 5:
                # Every number in it may be a length, an offset or a time.
                number = draw(st.sampled_from((b"99999999", b"9" * 30, b"9" * 5000, b"-1", b"0")))
                start = next((i for i in range(at, len(data)) if data[i : i + 1].isdigit()), at)
                end = start
                while data[end : end + 1].isdigit():
                    end += 1
                data = data[:start] + number + data[end:]
            case 6:
                data = data[:at] + data[at // 2 : at // 2 + size] + data[at:]
            case _:
                data = data[:at] + b"[" * 5000 + data[at:]
    return data


@contextmanager
def bounded(most: int = BOUND):
    """Fail when more memory than *most* is taken at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak:,} bytes"


@contextmanager
def place(files):
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


def intact(name: str, damaged: bytes) -> list[bytes]:
    """Return the lines of the file *name* that stand in *damaged* as they were."""
    lines = {
        JOURNAL: lambda: {line: journal_record("1g", n)
                          for n, line in enumerate(records("1g", range(2, 6)), 2)},
        HELD: lambda: {line: b"\n" + line for line in records("2r", range(1, 6))},
        "app.dead": lambda: dict(zip(
            records("3r", range(1, 6)),
            [b"\n" + line for line in letters().splitlines(keepends=True)],
            strict=True)),
        "app.log": lambda: {line: b"\n" + line for line in clean()},
    }[name]()  # fmt: skip
    return [line for line, carrier in lines.items() if carrier in b"\n" + damaged]


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_every_verb_reads_what_is_damaged(name: str, data) -> None:
    """
    Audit, doctor's look at leftovers, list and replay end with a status of their own; what is
    whole is in the target afterwards, or its file is still there.
    """
    damaged = data.draw(damages(FILES[name]))
    with place({name: damaged}) as directory, bounded():
        command("audit", directory / name)
        command("journal", "list", "--json", directory)
        command("replay", "--dead-letters", "--list", directory)
        target = directory / "target.log"
        command("replay", "--to", target, directory)
        command("replay", "--dead-letters", "--to", target, directory)
        left = [path for path in directory.iterdir() if path != target]
        found = target.read_bytes() if target.exists() else b""
        missing = [line for line in intact(name, damaged) if (identify(line) or b"") not in found]

        assert left or not missing


@pytest.mark.parametrize("name", [JOURNAL, HELD])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_start_reads_what_is_damaged(name: str, data) -> None:
    """Recovery and the held store take over what is whole, or leave the file where it is."""
    damaged = data.draw(damages(FILES[name]))
    with place({name: damaged}) as directory, bounded():
        store = HeldStore(
            str(directory / "app"), app="shop", destination="app", run="fresh0000000",
            identify=identify, weigh=weigh,
        )  # fmt: skip
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
        missing = set(map(identify, intact(name, damaged))) - set(map(identify, found))

        assert not missing or any(path.name.startswith(name) for path in directory.iterdir())


CONFIG = {
    ".toml": b'app = "shop"\nlevel = "info"\n[queue]\nrecords = 10\nbytes = "1 MiB"\n'
    b'[[destinations]]\npath = "a.log"\ntimeout = 1.5\nsince = 2026-11-21T01:44:00Z\n',
    ".json": b'{"app": "shop", "queue": {"records": 10}, "destinations": [{"path": "a.log"}]}',
    ".yaml": b"app: shop\nqueue: {records: 10}\nsince: 2026-11-21\ndestinations:\n- path: a.log\n",
}


@pytest.mark.parametrize("ending", CONFIG)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_configuration_is_read_or_refused(ending: str, data) -> None:
    """Whatever is in a configuration file, it gives settings or a ConfigurationError."""
    damaged = data.draw(damages(CONFIG[ending]))
    with place({"hydra" + ending: damaged}) as directory, bounded():
        try:
            load(file=directory / f"hydra{ending}", environ={})
        except ConfigurationError as error:
            assert error.problems  # noqa: PT017


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".json", '{"level": %s}' % ("9" * 5000)),
        (".toml", f"level = {'9' * 5000}"),
        (".yaml", f"level: {'9' * 5000}"),
        (".yaml", "level: 2026-99-99"),
        (".yaml", "? [a]\n: b"),
    ],
)
def test_value_that_python_refuses(tmp_path, ending: str, text: str) -> None:
    """A number too long to read, or a date that is none, is a problem like any other."""
    path = tmp_path / f"hydra{ending}"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load(file=path, environ={})


def test_letter_of_an_impossible_time(tmp_path) -> None:
    """A letter from a time that no calendar has is listed, and keeps nobody from the others."""
    for n, time in enumerate((10**40, -(10**40), 5), 1):
        letter = Letter(records("3r", [n])[0], f"{RUN}.3r-{n}", "file", "no", time, "shop", "app")
        with open(tmp_path / "app.dead", "ab") as file:
            file.write(encode(letter))
    said = command("replay", "--dead-letters", "--list", tmp_path)

    assert all(f"{RUN}.3r-{n}" in said for n in (1, 2, 3))


@pytest.mark.parametrize("name", FILES)
def test_hole_of_many_mebibytes(tmp_path, name: str) -> None:
    """A file that a damaged disk made huge is read in bounded memory, and so is what follows."""
    path = tmp_path / name
    path.write_bytes(FILES[name])
    os.truncate(path, 96 * MIB)
    with bounded(80 * MIB):
        command("audit", path)
        command("journal", "list", tmp_path)
        command("replay", "--dead-letters", "--list", tmp_path)
        target = tmp_path / "target.log"
        command("replay", "--to", target, tmp_path)
        command("replay", "--dead-letters", "--to", target, tmp_path)
    found = target.read_bytes() if target.exists() else b""

    assert name == "app.log" or all(line in found for line in intact(name, FILES[name]))


def test_acknowledgement_of_what_is_to_come(tmp_path) -> None:
    """A damaged acknowledgement that names a place behind itself costs no record."""
    path = tmp_path / HELD
    path.write_bytes(FILES[HELD] + b'{"hydra":"ack","offset":99999}\n')
    target = tmp_path / "target.log"
    command("replay", "--to", target, tmp_path)

    assert b"".join(records("2r", range(1, 6))) == target.read_bytes()


def test_archive_that_unpacks_to_very_much(tmp_path) -> None:
    """A small archive of an endless line is read in bounded memory."""
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(b"".join(clean()) + bytes(96 * MIB), 1))
    with bounded(80 * MIB):
        command("audit", path)


@pytest.mark.parametrize("name", ["journal-v1.j", "held-v1.held", "dead-v1.dead"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_golden_files_damaged(name: str, data) -> None:
    """The files of the published formats, damaged, are read by every verb."""
    damaged = data.draw(damages((GOLDEN / name).read_bytes()))
    with place({name: damaged}) as directory, bounded():
        command("audit", directory / name)
        command("journal", "list", directory)
        command("replay", "--dead-letters", "--list", directory)
        command("replay", "--to", directory / "target.log", directory)
