from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.config import _values as values
from hydra.config._values import EnvText, RefusedError

pytestmark = pytest.mark.unit


def env(text: str) -> EnvText:
    """Return *text* as if it stood in the environment."""
    return EnvText(text, "HYDRA_X")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (65536, 65536),
        ("64k", 65536),
        ("64 KiB", 65536),
        ("70 kB", 70_000),
        ("1.5m", 1572864),
        ("1 GB", 10**9),
        ("1g", 1 << 30),
        ("100_000", 100_000),
        (env("65536"), 65536),
    ],
)
def test_sizes(given: object, expected: int) -> None:
    """
    A size is a number of bytes or text with a unit.
    """
    assert expected == values.size(64)(given)


@pytest.mark.parametrize(
    "given", [True, 1.5, "", "k", "1 parsec", "-5", "9" * 16, 63, None, "1 e5"]
)
def test_no_sizes(given: object) -> None:
    """
    Anything else, and what is too small, is refused.
    """
    with pytest.raises(RefusedError):
        values.size(64)(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(5, 5.0), (0.25, 0.25), ("250 ms", 0.25), ("5s", 5.0), ("1 min", 60.0), ("2 h", 7200.0)],
)
def test_durations(given: object, expected: float) -> None:
    """
    A duration is a number of seconds or text with a unit.
    """
    assert expected == values.duration()(given)


@pytest.mark.parametrize(
    "given",
    [True, -1, math.nan, math.inf, 10**400, "9" * 400 + " s", "9" * 5_000, "soon", "5 bytes", None],
)
def test_no_durations(given: object) -> None:
    """
    A duration is finite and not negative.
    """
    with pytest.raises(RefusedError):
        values.duration()(given)


@pytest.mark.parametrize(
    ("given", "expected"), [(0o640, 0o640), ("0640", 0o640), ("640", 0o640), ("0o600", 0o600)]
)
def test_modes(given: object, expected: int) -> None:
    """
    Permission bits as text are always octal.
    """
    assert expected == values.mode(given)


@pytest.mark.parametrize("given", [640, "888", "0400", 0o755, 0o666, True, None, -1])
def test_no_modes(given: object) -> None:
    """
    Decimal slips, files the owner cannot write, and files for everybody are refused.
    """
    with pytest.raises(RefusedError):
        values.mode(given)


def test_only_the_environment_may_write_other_types_as_text() -> None:
    """
    "1" is a bool, a count or a list in a variable, and plain text anywhere else.
    """
    assert (True, False, 1, ("1",), ("a", "b")) == (
        values.flag(env("ON")),
        values.flag(env("0")),
        values.count(0)(env("1")),
        values.words(env("1")),
        values.words(env('["a", "b"]')),
    )
    for parse in (values.flag, values.count(0), values.words):
        with pytest.raises(RefusedError):
            parse("1")


@pytest.mark.parametrize(
    ("parse", "given"),
    [
        (values.count(1), 0),
        (values.count(1), 1.0),
        (values.choice("a", "b"), 1),
        (values.level, "loud"),
        (values.level, 2.5),
        (values.level, True),
        (values.text, "a\nb"),
        (values.name, ".."),
        (values.name, "a\n"),
        (values.name, "x" * 65),
        (values.path, ""),
        (values.path, "a\0b"),
        (values.path, "logs/\ud800.log"),
        (values.path, 3),
        (values.file_path, "logs/"),
        (values.file_path, "/"),
        (values.sink, "os.system"),
        (values.sink, 3),
        (values.processors, [print, "os.system"]),
        (values.words, ["a", ""]),
        (values.words, ["a", 3]),
        (values.words, 3),
    ],
)
def test_refused(parse: values.Parser, given: object) -> None:
    """
    Each kind refuses what it is not, with an exception of its own and no other.
    """
    with pytest.raises(RefusedError):
        parse(given)


def test_taken(tmp_path: Path) -> None:
    """
    Paths may be objects or bytes, one callable is a list of callables, a tier is a sink.
    """

    class Tier:
        def write(self, batch: object) -> None: ...

    tier = Tier()

    assert str(tmp_path) == values.path(tmp_path)
    assert "/logs/\udcff.log" == values.path("/logs/\udcff.log")
    assert tier is values.sink(tier)
    assert (print,) == values.processors(print) == values.processors([print])
    assert ("a",) == values.words({"a"})


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text())))
def test_parsers_raise_nothing_else(value: object) -> None:
    """
    Whatever is given, a parser returns or raises RefusedError, and takes its own result.
    """
    for parse in (
        values.flag,
        values.count(0),
        values.size(0),
        values.duration(),
        values.choice("a"),
        values.level,
        values.text,
        values.name,
        values.path,
        values.file_path,
        values.mode,
        values.sink,
        values.processors,
        values.words,
    ):
        for form in (value, env(value)) if isinstance(value, str) else (value,):
            try:
                result = parse(form)
            except RefusedError:
                continue

            assert result == parse(result)
