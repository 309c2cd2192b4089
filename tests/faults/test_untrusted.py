"""
Bytes that nobody vouches for: whatever reads them neither crashes, nor takes memory without
bound, nor loses what is whole beside the damage. `make fuzz` asks the same of many more.
"""

from __future__ import annotations

import gzip
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallbacks.dead_letters import Letter, encode
from hydra.config import load
from hydra.core.exceptions import ConfigurationError
from tests.cli.logfiles import RUN, clean, records
from tests.faults._untrusted import FILES, HELD, LOG, MIB, TARGETS, bounded, command, held, intact

pytestmark = pytest.mark.faults


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


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_damaged_file(name: str, data) -> None:
    """A damaged file of any kind crashes nothing, is read in bounded memory, and keeps the rest."""
    target = TARGETS[name]
    target.check(data.draw(damages(data.draw(st.sampled_from(target.seeds)))))


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
    os.truncate(path, 64 * MIB)
    with bounded(60 * MIB):
        command("audit", path)
        command("journal", "list", tmp_path)
        command("replay", "--dead-letters", "--list", tmp_path)
        target = tmp_path / "target.log"
        command("replay", "--to", target, tmp_path)
        command("replay", "--dead-letters", "--to", target, tmp_path)
    found = target.read_bytes() if target.exists() else b""

    assert name == LOG or all(line in found for line in intact(name, FILES[name]))


def test_acknowledgement_of_what_is_to_come(tmp_path) -> None:
    """A damaged acknowledgement that names a place behind itself costs no record."""
    path = tmp_path / HELD
    path.write_bytes(FILES[HELD] + b'{"hydra":"ack","offset":99999}\n')
    target = tmp_path / "target.log"
    command("replay", "--to", target, tmp_path)

    assert b"".join(records("2r", range(1, 6))) == target.read_bytes()


@pytest.mark.parametrize("read", ["replay", "start"])
def test_acknowledgement_of_half_a_line(tmp_path, read: str) -> None:
    """A damaged acknowledgement that names a place within a line costs no record."""
    data = FILES[HELD] + b'{"hydra":"ack","offset":%d}\n' % (len(FILES[HELD]) - 3)
    (tmp_path / HELD).write_bytes(data)
    found = b""
    if read == "replay":
        command("replay", "--to", tmp_path / "target.log", tmp_path)
        found = (tmp_path / "target.log").read_bytes()
    else:
        store = held(tmp_path)
        store.adopt()
        chunk = store.lines(100, MIB)
        store.close()
        found = b"".join(chunk.lines if chunk else [])

    assert b"".join(records("2r", range(1, 6))) == found


def test_archive_that_unpacks_to_very_much(tmp_path) -> None:
    """A small archive of an endless line is read in bounded memory."""
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(b"".join(clean()) + bytes(64 * MIB), 1))
    with bounded(60 * MIB):
        command("audit", path)
