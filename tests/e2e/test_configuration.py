"""
Configuration as users give it: all mistakes at once, and every source through a real process.
"""

from __future__ import annotations

import json

import pytest

import hydra

pytestmark = pytest.mark.e2e

ORDINARY = """
    import hydra
    log = hydra.get_logger("shop")
    log.debug("debug")
    log.info("info")
    log.error("error")
"""


class TestMistakes:
    """One exception with everything that is wrong, and no change."""

    def test_every_problem_is_named(self, place):
        """Path, value and choices of each; what was in force goes on."""
        hydra.configure(destinations=[str(place.directory / "app.log")])
        hydra.info("before")
        with pytest.raises(hydra.ConfigurationError) as caught:
            hydra.configure(
                level="lowd",
                destinations=[
                    {"name": "a", "path": "a.log", "timeout": "5 x", "format": "xml"},
                    {"name": "a", "type": "fiel", "level": 3.5},
                    {"name": "b", "type": "console", "path": "b.log"},
                    {"name": "c", "path": "a.log", "fallback": [{"type": "stderr", "quota": 1}]},
                ],
                layers={"payments": {"levle": "debug"}},
                queue={"recrods": 1, "when_full": "explode"},
                journal={"quota": "many"},
                unknown=1,
            )
        hydra.info("after")
        hydra.close()
        problems = {problem.path: problem for problem in caught.value.problems}
        said = str(caught.value)

        assert {
            "level", "destinations[0].timeout", "destinations[0].format", "destinations[1].type",
            "destinations[1].level", "destinations[2].path", "destinations[3].fallback[0].quota",
            "layers.payments.levle", "queue.recrods", "queue.when_full", "journal.quota", "unknown",
        } <= problems.keys()  # fmt: skip
        assert [] == [path for path in problems if path not in said]
        assert ("lowd", "5 x", "xml", "explode") == tuple(
            problems[path].value
            for path in (
                "level", "destinations[0].timeout", "destinations[0].format", "queue.when_full",
            )
        )  # fmt: skip
        policies = problems["queue.when_full"].choices
        assert ("block", "drop_new", "drop_old", "shed", "spill") == policies
        assert {"json", "plain", "text"} <= set(problems["destinations[0].format"].choices)
        assert "records" in str(problems["queue.recrods"])
        assert ["before", "after"] == [r["message"] for r in place.records("app.log")]
        assert ["app.log"] == [path.name for path in place.directory.iterdir()]

    @pytest.mark.parametrize("error", [hydra.HydraError, ValueError])
    def test_caught_as(self, error):
        """The exception is one of ours and a ValueError."""
        with pytest.raises(error):
            hydra.configure(level="lowd")

    def test_secret_is_not_shown(self):
        """A mistake is often shown in a deployment's log: no secret in it."""
        with pytest.raises(hydra.ConfigurationError) as caught:
            hydra.configure(db_password="hunter2", nested={"x": "hunter2"})  # type: ignore[arg-type]

        assert "hunter2" not in str(caught.value)


class TestSources:
    """Defaults, preset, file, environment, keywords: the later wins."""

    FILE = """
        app = "shop"
        level = "warning"
        [[destinations]]
        path = "file.log"
        [queue]
        records = 7
    """

    def write(self, place):
        """Write the configuration file, and name it in the environment."""
        lines = [line.strip() for line in self.FILE.splitlines()]
        (place.directory / "hydra.toml").write_text("\n".join(lines))
        place.extra["HYDRA_CONFIG"] = "hydra.toml"

    def test_nothing(self, place):
        """Nothing configured: JSON lines on standard error where that is no terminal."""
        out, err = place.run(ORDINARY)

        assert "" == out
        assert ["info", "error"] == [json.loads(line)["message"] for line in err.splitlines()]
        assert [] == place.files()

    def test_file(self, place):
        """The file that the environment names is read without a call of configure."""
        self.write(place)
        said = place.run(ORDINARY)

        assert ("", "") == said
        assert ["error"] == [record["message"] for record in place.records("file.log")]

    def test_environment_over_file(self, place):
        """Single options of the file, also inside of a list, are overruled."""
        self.write(place)
        place.extra |= {"HYDRA_LEVEL": "debug", "HYDRA_DESTINATIONS__0__PATH": "env.log"}
        place.run(ORDINARY)

        assert ["debug", "info", "error"] == [r["message"] for r in place.records("env.log")]
        assert not (place.directory / "file.log").exists()

    def test_keywords_over_environment(self, place):
        """What the program says stands; the rest still comes from file and environment."""
        self.write(place)
        place.extra |= {"HYDRA_LEVEL": "debug", "HYDRA_DESTINATIONS__0__PATH": "env.log"}
        place.run("import hydra\nhydra.configure(level='info')\n" + ORDINARY.replace("    ", ""))

        assert ["info", "error"] == [record["message"] for record in place.records("env.log")]

    def test_environment_alone(self, place):
        """A list of texts is enough for destinations."""
        place.extra |= {"HYDRA_DESTINATIONS": "stderr,logs/app.log", "HYDRA_LEVEL": "error"}
        _, err = place.run(ORDINARY)

        assert ["error"] == [record["message"] for record in place.records("logs/app.log")]
        assert ["error"] == [json.loads(line)["message"] for line in err.splitlines()]

    def test_mistake_in_the_environment(self, place):
        """A program that configures nothing is not stopped; it is told what was ignored."""
        place.extra |= {"HYDRA_LEVEL": "lowd", "HYDRA_QUEUE__RECORDS": "many"}
        _, err = place.run(ORDINARY)
        said, *lines = err.splitlines()

        assert ["info", "error"] == [json.loads(line)["message"] for line in lines]
        assert ("HYDRA_LEVEL" in said, "lowd" in said, "many" in said) == (True, True, True)

    def test_mistake_told_to_whoever_configures(self, place):
        """The same mistakes, and one in the file, are raised together by configure."""
        self.write(place)
        (place.directory / "hydra.toml").write_text("lvel = 'info'\n")
        place.extra |= {"HYDRA_LEVEL": "lowd", "HYDRA_QUEUE__RECORDS": "many"}
        out, _ = place.run("""
            import hydra
            try:
                hydra.configure()
            except hydra.ConfigurationError as error:
                print(error)
        """)

        assert [] == [word for word in ("lvel", "lowd", "many", "level") if word not in out]
        assert 3 == len(out.splitlines())
