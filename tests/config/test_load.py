from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from hydra.config import (
    Destination,
    DestinationSettings,
    FallbackSettings,
    LayerSettings,
    QueueSettings,
    Settings,
    load,
    load_or_default,
)
from hydra.config._defaults import MIB
from hydra.core.exceptions import ConfigurationError

pytestmark = pytest.mark.unit


def send(lines: list[bytes]) -> None:
    """Stand for a sink."""


def problems(config: object = None, **sources: object) -> dict[str, str]:
    """Return the messages that `load` reports, by path."""
    with pytest.raises(ConfigurationError) as caught:
        load(config, **{"environ": {}, **sources})
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_nothing_configured() -> None:
    """
    Without any source there is one console on standard error, its format by the stream.
    """
    console = DestinationSettings(name="console", type="console", format="auto")

    assert Settings(app="x", destinations=(console,)) == load(environ={}, keywords={"app": "x"})


def test_each_source_overrules_the_one_before(tmp_path: Path) -> None:
    """
    Defaults, LOG_LEVEL, preset, file, environment, mapping, keywords: the last one wins.
    """
    file = tmp_path / "a.toml"
    file.write_text('level = "warning"\n')
    environ = {"LOG_LEVEL": "error"}
    seen = [
        load(environ={}).level,
        load(environ=environ).level,
        load(environ=environ, preset="development").level,
        load(environ=environ, preset="development", file=file).level,
        load(environ={**environ, "HYDRA_LEVEL": "critical"}, file=file).level,
        load({"level": 1}, environ={**environ, "HYDRA_LEVEL": "critical"}).level,
        load({"level": 1}, environ=environ, keywords={"level": 2}).level,
    ]

    assert [20, 40, 10, 30, 50, 1, 2] == seen


def test_sections_merge_and_lists_are_replaced(tmp_path: Path) -> None:
    """
    A later source changes single options of a section, and the whole of a list.
    """
    file = tmp_path / "a.json"
    file.write_text(
        '{"queue": {"records": 10, "when_full": "drop_new"}, "destinations": ["a.log", "b.log"],'
        ' "layers": {"p": "debug", "q": {"level": "error"}}, "journal": {"dir": "/j"}}'
    )
    settings = load(
        file,
        environ={"HYDRA_JOURNAL": "off"},
        keywords={
            "queue": {"records": 20, "bytes": None},
            "destinations": "console",
            "layers": {"p": {"destinations": []}, "r": 5, "q": None},
        },
    )

    assert (20, "drop_new", 2) == (
        settings.queue.records,
        settings.queue.when_full,
        settings.queue.reserve,
    )
    assert ["console"] == [destination.name for destination in settings.destinations]
    assert {
        "p": LayerSettings(level=10, destinations=()),
        "q": LayerSettings(level=40),
        "r": LayerSettings(level=5),
    } == settings.layers
    assert (False, "/j") == (settings.journal.enabled, settings.journal.dir)


def test_environment_reaches_every_place(tmp_path: Path) -> None:
    """
    Two underscores go one table or list down, and an element of a list is mended in place.
    """
    file = tmp_path / "a.toml"
    file.write_text('destinations = ["/l/app.log"]\n[layers.Pay]\ndestinations = ["console"]\n')
    settings = load(
        environ={
            "HYDRA_CONFIG": str(file),
            "HYDRA_APP": "shop",
            "HYDRA_STRICT": "Yes",
            "HYDRA_EXIT_TIMEOUT": "250 ms",
            "HYDRA_QUEUE": '{"records": 7}',
            "HYDRA_QUEUE__BYTES": "1 MiB",
            "HYDRA_DESTINATIONS__0__LEVEL": "error",
            "HYDRA_DESTINATIONS__0__FALLBACK__0__TYPE": "stderr",
            "HYDRA_DESTINATIONS__1__TYPE": "console",
            "HYDRA_DESTINATIONS__1__QUEUE__RECORDS": "1_000",
            "HYDRA_LAYERS__PAY": "trace",
            "HYDRA_LAYERS__PAY__DESTINATIONS__0__NAME": "pay",
            "HYDRA_LAYERS__OTHER__LEVEL": "info",
            "HYDRA_REDACT__KEYS": "pin, iban",
            "HYDRA_JOURNAL__ENABLED": "",
            "HYDRA_FULL_ERROR": "1",
            "HYDRA_PORT": "tcp://10.0.0.1:80",
        }
    )
    first, second = settings.destinations

    assert ("shop", True, 0.25) == (settings.app, settings.strict, settings.exit_timeout)
    assert (7, MIB) == (settings.queue.records, settings.queue.bytes)
    assert ("app", 40, (FallbackSettings(type="stderr"),)) == (
        first.name,
        first.level,
        first.fallback,
    )
    assert QueueSettings(records=1000, bytes=MIB, reserve=100) == second.queue
    assert ("pin", "iban") == settings.redact.keys
    assert {"other": 20, "Pay": 5}.keys() == settings.layers.keys()
    assert None is settings.journal.enabled


def test_layer_of_the_environment_keeps_its_destinations() -> None:
    """
    A level for a layer leaves alone what a lower element of the environment says.
    """
    settings = load(
        environ={
            "HYDRA_LAYERS": '{"pay": {"destinations": ["console"]}}',
            "HYDRA_LAYERS__PAY__LEVEL": "trace",
            "HYDRA_DESTINATIONS": "stderr",
            "HYDRA_DESTINATIONS__0__NAME": "err",
        }
    )
    layer = settings.layers["pay"]

    assert (5, "console") == (layer.level, layer.destinations[0].name)
    assert ["err"] == [destination.name for destination in settings.destinations]


def test_environment_problems_name_the_variable() -> None:
    """
    What is wrong in the environment is reported with the variable it stands in.
    """
    found = problems(
        environ={
            "HYDRA_LEVLE": "info",
            "HYDRA_STRICT": "maybe",
            "HYDRA_QUEUE__RECRODS": "1",
            "HYDRA_QUEUE__RECORDS": "1.5",
            "HYDRA_LAYERS": "{broken",
            "HYDRA_DESTINATIONS__5__PATH": "x",
            "HYDRA_DESTINATIONS__X__PATH": "x",
            "HYDRA_REDACT__KEYS": "[1",
        }
    )

    assert "HYDRA_LEVLE: is no option; did you mean HYDRA_LEVEL?" == found["HYDRA_LEVLE"]
    assert "[from HYDRA_STRICT]" in found["strict"]
    assert 'did you mean "records"?' in found["queue.recrods"]
    assert "[from HYDRA_QUEUE__RECORDS]" in found["queue.records"]
    assert "[from HYDRA_LAYERS]" in found["layers"]
    assert {"destinations[5]", "destinations[x]", "redact.keys"} < found.keys()


def test_all_problems_at_once() -> None:
    """
    One exception names every mistake with its path, and the choices where it can.
    """
    found = problems(
        {
            "levle": 1,
            "destinations": [
                {"type": "flie", "path": "x", "timeout": 0},
                {"name": "a/b", "type": "console", "path": "x"},
                {"type": "file"},
                {"type": "sink"},
                {},
                7,
                {"path": "y", "fallback": [{"type": "file", "sink": send}, {}, 3], "queue": 1},
                {"path": "z", "fallback": 3},
            ],
            "layers": {"": "info", "a..b": 1, 3: 1, "p": {"lvl": 1, "destinations": 4}, "q": 1.5},
            "queue": {"when_full": "wait", "reserve": True},
            "journal": {"quota": "1 MiB"},
            "redact": {"keys": "pin"},
            "processors": "os.system",
            "preset": "prod",
        }
    )

    assert {
        "preset",
        "levle",
        "processors",
        "queue.when_full",
        "queue.reserve",
        "journal.quota",
        "redact.keys",
        "destinations[0].type",
        "destinations[0].timeout",
        "destinations[1].name",
        "destinations[1].path",
        "destinations[2].path",
        "destinations[3].sink",
        "destinations[4].type",
        "destinations[5]",
        "destinations[6].queue",
        "destinations[6].fallback[0].sink",
        "destinations[6].fallback[1].type",
        "destinations[6].fallback[2]",
        "destinations[7].fallback",
        "layers.",
        "layers.a..b",
        "layers.3",
        "layers.p.lvl",
        "layers.p.destinations",
        "layers.q",
    } == found.keys()
    assert "choose one of file, console, stderr, sink" in found["destinations[0].type"]
    assert "is an option of file, not of console" in found["destinations[1].path"]


def test_wrong_shapes_at_the_top() -> None:
    """
    Something that is no configuration at all is a problem, not a crash.
    """
    assert {"config"} == problems(3).keys()
    assert {"layers", "queue", "destinations"} == problems(
        {"layers": 1, "queue": 2, "destinations": 3}
    ).keys()
    assert {"file"} == problems("a.toml", file="b.toml").keys()


def test_secret_is_not_shown() -> None:
    """
    A value under a name that looks like a secret is masked in the message.
    """
    found = problems({"queue": {"password": "hunter2"}, "sink_token": "hunter2"})

    assert "hunter2" not in "".join(found.values())


@pytest.mark.parametrize("shape", ["mapping", "object", "settings"])
def test_same_settings_from_every_shape(shape: str) -> None:
    """
    A mapping, a Destination and a settings object say the same, and settings read back in.
    """
    options = {
        "sink": send,
        "level": "error",
        "fallback": ["stderr", {"path": "/tmp/x"}],
        "queue": {"records": 10},
    }
    config = {
        "app": "shop",
        "destinations": [options, {"path": "/l/app.log"}, "console"],
        "layers": {"p": {"destinations": ["app", {"path": "/l/p.log", "mode": "0640"}]}},
        "journal": {"enabled": True},
    }
    settings = load(config, environ={})
    again = {
        "mapping": lambda: load(environ={}, keywords=config),
        "object": lambda: load(
            {**config, "destinations": [Destination(**options), *settings.destinations[1:]]},
            environ={},
        ),
        "settings": lambda: load(settings, preset="no such", environ={"HYDRA_LEVEL": "none"}),
    }[shape]()

    assert settings == again
    assert again.destinations[1] is again.layers["p"].destinations[0]
    assert settings == pickle.loads(pickle.dumps(settings))


def test_keywords_overrule_a_settings_object() -> None:
    """
    Settings are complete, and keywords beside them still have the last word.
    """
    settings = load(load(environ={}), keywords={"queue": {"records": 3}, "level": "error"})

    assert (40, 3, 32 * MIB) == (settings.level, settings.queue.records, settings.queue.bytes)


def test_names_are_made_unique() -> None:
    """
    A given name is kept, a made one steps aside; a name given twice is a problem.
    """
    settings = load(
        {
            "destinations": [
                {"path": "/a/app.log"},
                {"path": "/b/app.log"},
                {"type": "console", "name": "app"},
                {"sink": send},
                {"sink": print},
                {"stream": "stdout"},
                {"path": "/b/.hidden app"},
                {"path": "/b/\u00fc"},
            ]
        },
        environ={},
    )

    assert ["app-2", "app-3", "app", "send", "print", "console", "hidden-app", "file"] == [
        destination.name for destination in settings.destinations
    ]
    assert {"destinations[1].name"} == problems(
        {"destinations": [{"name": "a", "type": "console"}, {"name": "a", "type": "stderr"}]}
    ).keys()


def test_one_file_has_one_writer(tmp_path: Path) -> None:
    """
    Two destinations with one file are a problem, also through a link and from a layer.
    """
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = problems(
        {
            "destinations": [
                {
                    "path": tmp_path / "real" / "app.log",
                    "fallback": [f"{tmp_path}/held", f"{tmp_path}/held"],
                },
                {"name": "b", "path": f"{tmp_path}/link/../link/app.log"},
                {"path": "/x/c", "fallback": [f"{tmp_path}/held", "/x/c"]},
            ],
            "layers": {"p": {"destinations": [{"name": "p", "path": f"{tmp_path}/real/app.log"}]}},
        }
    )

    assert {
        "destinations[0].fallback[1].path",
        "destinations[1].path",
        "destinations[2].fallback[1].path",
        "layers.p.destinations[0].path",
    } == found.keys()


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A relative path is taken from the working directory once, and ~ is the home directory.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    settings = load({"destinations": ["l/app.log"], "journal": {"dir": "~/j"}}, environ={})

    assert (f"{tmp_path}/l/app.log", "/home/me/j") == (
        settings.destinations[0].path,
        settings.journal.dir,
    )


def test_working_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A relative path without a working directory is a problem, not a crash.
    """
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    found = problems({"app": "x", "destinations": ["app.log"]})

    assert {"destinations[0].path"} == found.keys()


@pytest.mark.parametrize(
    ("environ", "color"),
    [
        ({}, "auto"),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, "never"),
        ({"NO_COLOR": "", "FORCE_COLOR": "1"}, "always"),
        ({"FORCE_COLOR": "0"}, "never"),
    ],
)
def test_common_colour_variables(environ: dict[str, str], color: str) -> None:
    """
    NO_COLOR and FORCE_COLOR hold for consoles without a choice of their own.
    """
    settings = load(
        {"destinations": ["console", {"type": "console", "color": "auto"}, "/l/x"]}, environ=environ
    )

    assert [color, "auto", "auto"] == [item.color for item in settings.destinations]


def test_format_follows_the_type() -> None:
    """
    Only a stream can choose its format by looking at it; elsewhere auto is JSON.
    """
    settings = load(
        {
            "destinations": [
                "stderr",
                {"path": "/l/a", "format": "auto"},
                {"sink": send, "fallback": [{"sink": send, "format": "auto"}]},
                {"type": "console", "format": "TEXT"},
            ]
        },
        environ={},
    )

    assert ["auto", "json", "json", "text"] == [item.format for item in settings.destinations]
    assert "json" == settings.destinations[2].fallback[0].format


def test_preset_knows_the_app(tmp_path: Path) -> None:
    """
    The file of the production preset is called after the app, whoever named it.
    """
    file = tmp_path / "a.toml"
    file.write_text('preset = "production"\napp = "shop"\n')

    assert os.path.abspath("logs/shop.log") == load(file, environ={}).destinations[0].path
    assert (
        os.path.abspath("logs/b.log")
        == load(environ={"HYDRA_PRESET": "production", "HYDRA_APP": "b"}).destinations[0].path
    )
    assert {"app"} == problems({"preset": "production", "app": "../x"}).keys()


def test_implicit_configuration_never_raises() -> None:
    """
    A program that configures nothing gets the defaults, and the problems to report.
    """
    good, none = load_or_default({"LOG_LEVEL": "debug"})
    plain, found = load_or_default({"LOG_LEVEL": "loud"})

    assert (10, ()) == (good.level, none)
    assert (20, ["level"]) == (plain.level, [problem.path for problem in found])


def test_destination_repr_shows_no_value() -> None:
    """
    The options of a sink may hold credentials, so only their names are shown.
    """
    assert "<Destination sink, url>" == repr(Destination(send, url="https://me:pw@host"))


def test_broken_file_hides_no_other_problem(tmp_path: Path) -> None:
    """
    A file that cannot be read is reported together with what is wrong elsewhere.
    """
    file = tmp_path / "missing.toml"

    assert {str(file), "level"} == problems({"level": "loud"}, file=file).keys()


def test_none_is_not_given() -> None:
    """
    None for an option means that it is not given, at any depth.
    """
    config = {"level": None, "destinations": [{"path": "/l/a", "level": None, "queue": None}]}

    assert load({"destinations": ["/l/a"]}, environ={}) == load(config, environ={})


def test_tables_of_the_environment(tmp_path: Path) -> None:
    """
    A table written as JSON is merged where it stands; a broken one is one problem.
    """
    file = tmp_path / "a.toml"
    file.write_text(
        '[[destinations]]\npath = "/l/a"\nqueue = { records = 5, when_full = "drop_new" }\n'
    )
    variable = "HYDRA_DESTINATIONS__0__QUEUE"
    settings = load(file, environ={variable: '{"records": 6}'})

    assert (
        QueueSettings(records=6, reserve=0, when_full="drop_new") == settings.destinations[0].queue
    )
    assert {"destinations[0].queue"} == problems(file, environ={variable: "{"}).keys()


def test_keyword_of_none_leaves_the_lower_source_alone(tmp_path: Path) -> None:
    """
    A keyword that is passed on as None does not undo what the file says.
    """
    file = tmp_path / "a.toml"
    file.write_text('level = "error"\n[queue]\nrecords = 5\n')
    settings = load(file, environ={}, keywords={"level": None, "queue": None})

    assert (40, 5) == (settings.level, settings.queue.records)


def test_variables_of_others_are_left_alone() -> None:
    """
    What Kubernetes sets beside a service called hydra-destinations is no mistake of ours.
    """
    environ = {"HYDRA_DESTINATIONS_PORT": "tcp://10.0.0.1:80", "HYDRA_LEVEL_PORT": "80"}

    assert load(environ={}) == load(environ=environ)


def test_elements_are_added_in_the_order_of_their_index() -> None:
    """
    Index 10 comes after 9, although its variable sorts before.
    """
    environ = {f"HYDRA_DESTINATIONS__{index}__PATH": f"/l/{index}" for index in range(12)}

    assert [f"/l/{index}" for index in range(12)] == [
        destination.path for destination in load(environ=environ).destinations
    ]
