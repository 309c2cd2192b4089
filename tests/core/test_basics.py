from __future__ import annotations

import datetime as dt
import pickle
import sys

import pytest

from hydra.core import callsite, exceptions, ids, levels, timestamps

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("info", 20),
        ("WARN", 30),
        ("Fatal", 50),
        (" trace ", 5),
        ("25", 25),
        ("level7", 7),
        (0, 0),
        (40, 40),
        (1000, 1000),
    ],
)
def test_level_is_read(given, number):
    """
    Names in any case, aliases and numbers are levels.
    """
    assert number == levels.parse_level(given)


@pytest.mark.parametrize("given", ["loud", "", -1, 1001, True, None, 2.5, "²", "99999", "level"])
def test_level_is_refused(given):
    """
    What is no level is refused, and the message names the choices.
    """
    with pytest.raises(ValueError, match=r"trace, debug, info, warning \(warn\)"):
        levels.parse_level(given)


def test_level_is_written():
    """
    A level is written by its name, other numbers as level<N>, which can be read back.
    """
    names = [levels.level_name(number) for number in (5, 10, 20, 30, 40, 50, 25)]

    assert ["trace", "debug", "info", "warning", "error", "critical", "level25"] == names
    assert [5, 10, 20, 30, 40, 50, 25] == [levels.parse_level(name) for name in names]


def test_level_tags_of_any_number_do_not_grow_the_cache():
    """
    Tags of numbers that are levels are kept; others are made anew.
    """
    tags = [levels.level_tag(number) for number in (20, 25, 25, 5000, -3)]

    assert [b'"info"', b'"level25"', b'"level25"', b'"level5000"', b'"level-3"'] == tags
    assert not {5000, -3} & levels._TAGS.keys()


def test_runs_differ():
    """
    A run is 12 characters of a-z and 0-9, and no two are the same.
    """
    runs = {ids.new_run() for _ in range(100)}

    assert 100 == len(runs)
    assert all(ids.parse_id(f"{run}.1r-1") for run in runs)


def test_id_is_read_and_written():
    """
    An id comes back as it was written.
    """
    found = ids.parse_id(b"k3f9x2ab71qz.12g-345")

    assert ids.Id("k3f9x2ab71qz", 12, "g", 345) == found
    assert ("12g", "k3f9x2ab71qz.12g-345") == (found.stream, str(found))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k3f9x2ab71qz.1r-0",
        "k3f9x2ab71qz.1r-01",
        "k3f9x2ab71qz.01r-1",
        "K3f9x2ab71qz.1r-1",
        "k3f9x2ab71q.1r-1",
        "k3f9x2ab71qz.1x-1",
        "k3f9x2ab71qz.1r-1\n",
        "k3f9x2ab71qz.1r-\u0661",
    ],
)
def test_id_is_refused(text):
    """
    What is not exactly an id is none.
    """
    assert ids.parse_id(text) is None
    assert ids.parse_id(text.encode()) is None


@pytest.mark.parametrize("end", [b"\n", b""])
def test_line_is_identified(end):
    """
    The id that closes a line is found, also behind a message that quotes another.
    """
    line = rb'{"message":"x\",\"id\":\"aaaaaaaaaaaa.1r-1\"}","id":"k3f9x2ab71qz.1r-17"}' + end

    assert b"k3f9x2ab71qz.1r-17" == ids.identify(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"text\n",
        b'{"a":1}\n',
        b'{"a":1,"id":"k3f9x2ab71qz.1r-17"',
        b'{"a":1,"id":"7"}\n',
        b'{"a":1,"id":"k3f9x2ab71qz.1r-17","b":2}\n',
        b'x,"id":"k3f9x2ab71qz.1r-17"}\n',
        b'{"a":1,"id":"k3f9x2ab71qz.1r-17"}\n\n',
        b'{"id":"k3f9x2ab71qz.1r-17"}\n',
    ],
)
def test_line_is_not_identified(line):
    """
    A line without an id at its very end has none, and still weighs as one record.
    """
    assert ids.identify(line) is None
    assert 1 == ids.weigh(line)


def test_lane_of_a_line_is_read_from_its_id():
    """
    Only an id of the lane g says that a line is guaranteed, and nothing that looks like one.
    """
    lines = [b'{"m":"g-1","id":"k3f9x2ab71qz.1%b-7"}\n' % lane for lane in (b"g", b"r", b"c")]
    others = [b'{"id":"x.1g-1","m":1}\n', b'{"m":"big-1"}\n', b"g-1", b"", b'{"n":1}\n']

    assert [True, False, False] == [ids.guaranteed(line) for line in lines]
    assert {False} == {ids.guaranteed(line) for line in others}


def test_control_records_weigh_nothing():
    """
    Records of the lanes r and g weigh 1, control records 0.
    """
    lines = [b'{"a":1,"id":"k3f9x2ab71qz.4%b-1"}\n' % lane for lane in (b"r", b"g", b"c")]

    assert [1, 1, 0] == [ids.weigh(line) for line in lines]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, b"1970-01-01T00:00:00.000000Z"),
        (-1, b"1969-12-31T23:59:59.999999Z"),
        (1_763_689_440_123_456_789, b"2025-11-21T01:44:00.123456Z"),
        (951_782_400_000_000_000, b"2000-02-29T00:00:00.000000Z"),
        (-(10**22), b"0001-01-01T00:00:00.000000Z"),
        (10**22, b"9999-12-31T23:59:59.000000Z"),
    ],
)
def test_timestamp(ns, text):
    """
    Every integer has a timestamp; beyond the years 1 to 9999 it is the nearest second.
    """
    assert text == timestamps.rfc3339(ns)
    assert text == timestamps.rfc3339(ns)


def test_platform_without_old_times(monkeypatch):
    """
    Where gmtime refuses, the calendar is computed, and agrees with datetime.
    """
    day = 86_400
    seconds = [*range(-62_135_596_800, 253_402_300_799, 7_919 * day + 12_345), -1, 0]
    epoch = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose
    expected = [
        (epoch + dt.timedelta(seconds=s)).isoformat(timespec="seconds").encode() + b"."
        for s in seconds
    ]

    assert expected == [timestamps.second_text(s) for s in seconds]

    def refuse(second):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(timestamps.time, "gmtime", refuse)

    assert expected == [timestamps.second_text(s) for s in seconds]


def test_configuration_error_lists_every_problem():
    """
    Each problem stands on a line, with its path, its value and the choices.
    """
    error = exceptions.ConfigurationError(
        exceptions.Problem("queue.when_full", "no such policy", "bloc", ("block", "shed")),
        exceptions.Problem("queue.records", "must be above 0", 0),
        "no destination",
    )

    assert (
        "queue.when_full: no such policy (got 'bloc'); choose one of block, shed\n"
        "queue.records: must be above 0 (got 0)\n"
        "no destination"
    ) == str(error)
    assert error.problems == pickle.loads(pickle.dumps(error)).problems
    assert isinstance(error, ValueError)
    assert exceptions.HydraLoggerException is exceptions.HydraError


class Broken:
    def __repr__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("sink.headers.Authorization", "hunter2", "***"),
        ("destinations[0].api_key", "hunter2", "***"),
        ("sink.url", "https://u:hunter2@host/", "'https://***@host/'"),
        ("sink", {"password": "hunter2"}, "a dict of 1"),
        ("x", "a" * 200, "'" + "a" * 116 + "..."),
        ("x", Broken(), "<unprintable Broken: ZeroDivisionError>"),
    ],
)
def test_configuration_error_shows_no_secret(path, value, shown):
    """
    Values under secret names, inside of containers and in URLs are not shown.
    """
    assert f"{path}: wrong (got {shown})" == str(exceptions.Problem(path, "wrong", value))


def _call_as(module, stacklevel):
    """Call find_caller from a frame that says it belongs to *module*."""
    scope = {"__name__": module, "find": callsite.find_caller}
    exec("def outer(level):\n    return find(level)", scope)
    return scope["outer"](stacklevel)


def _via(module):
    """Call it with this helper as the nearest frame, and ask for the one above."""
    return _call_as(module, 3)


def test_caller_is_the_users_frame():
    """
    Frames of hydra and fallbacks are skipped, similar names are not.
    """
    line = sys._getframe().f_lineno + 1
    found = _via("hydra.logger"), _via("fallbacks.plan"), _via("hydra")
    other = _call_as("hydrant", 1)

    assert 3 * [(__file__, line, "test_caller_is_the_users_frame")] == list(found)
    assert ("<string>", "outer") == (other.file, other.function)


def test_caller_beyond_the_stack():
    """
    A stacklevel higher than the stack gives the outermost frame; below 1 counts as 1.
    """
    assert callsite.find_caller(10**6).file != callsite.UNKNOWN.file
    assert "test_caller_beyond_the_stack" == callsite.find_caller(0).function


def test_caller_without_any_user_frame(monkeypatch):
    """
    When every frame is Hydra's own, the place is unknown.
    """
    monkeypatch.setattr(callsite, "_is_own", lambda module: True)

    assert callsite.UNKNOWN == callsite.find_caller()
