"""
What the engine writes, `hydra audit` proves; and what is taken away, it finds.
"""

from __future__ import annotations

import gzip
import json
import os
import signal

import pytest
from click.testing import CliRunner

import hydra
from hydra.cli import main

pytestmark = pytest.mark.e2e


def counted(report, *names):
    """Return verdict, exit status, missing numbers and the entries *names* of a report."""
    return tuple(report[name] for name in ("verdict", "exit", "missing", *names))


def in_process(path):
    """Audit *path* without a process: for the many variants of one file."""
    result = CliRunner().invoke(main, ["audit", "--json", str(path)])
    return json.loads(result.stdout), result.exit_code


class TestUntouched:
    """Whatever the routes were, the files of a clean run are complete."""

    def test_two_destinations_with_levels(self, place):
        """Each file holds whole streams, so each is complete alone and with the other."""
        hydra.configure(
            level="debug",
            destinations=[
                {"name": "all", "type": "file", "path": str(place.directory / "all.log")},
                {"path": str(place.directory / "bad.log"), "level": "warning"},
            ],
        )
        log = hydra.get_logger("shop")
        for n in range(50):
            for call in (log.trace, log.debug, log.info, log.warning, log.error, log.critical):
                call("step", n=n)
        stats = hydra.close()

        assert stats.balanced
        assert ("complete", 0, 0, 250) == counted(place.audit("all.log"), "records")
        assert ("complete", 0, 0, 150) == counted(place.audit("bad.log"), "records")
        assert ("complete", 0, 0, 400) == counted(place.audit("all.log", "bad.log"), "records")

    def test_layer_in_a_file_of_its_own(self, place):
        """A layer takes its records out of the common file without leaving gaps there."""
        app, pay = place.directory / "app.log", place.directory / "pay.log"
        hydra.configure(
            destinations=[{"path": str(app)}],
            layers={"payments": {"level": "debug", "destinations": [{"path": str(pay)}, "app"]},
                    "payments.noise": {"destinations": []}},
        )  # fmt: skip
        names = ("shop", "payments", "payments.card", "payments.noise", "paymentsx")
        for n in range(20):
            for name in names:
                hydra.get_logger(name).info("paid", n=n)
                hydra.get_logger(name).debug("paid", n=n)
        hydra.close()

        assert ("complete", 0, 0) == counted(place.audit("app.log"))
        assert ("complete", 0, 0, 80) == counted(place.audit("pay.log"), "records")
        assert {"payments", "payments.card"} == {r["logger"] for r in place.records("pay.log")}

    def test_level_changed_at_run_time(self, place):
        """Each configuration is a run of its own, and all of them are complete."""
        path = place.directory / "app.log"
        log = hydra.get_logger("shop")
        for level in ("warning", "debug", "info"):
            hydra.configure(level=level, destinations=[str(path)])
            for n in range(10):
                log.debug("step", n=n)
                log.info("step", n=n)
                log.error("step", n=n)
        hydra.close()

        report = place.audit("app.log")

        assert ("complete", 0, 0, 10 + 30 + 20, 3) == counted(report, "records", "runs")

    def test_two_processes_in_one_file(self, place):
        """Processes that append to one file at once neither tear nor lose a line."""
        script = """
            import hydra, sys
            hydra.configure(app="shop", destinations=["app.log"])
            for n in range(3000):
                hydra.info("step", n=n, padding="x" * (n % 700))
            hydra.error("last")
        """
        processes = [place.start(script) for _ in range(2)]
        said = [process.communicate(timeout=30) for process in processes]

        assert [(b"", b"")] * 2 == said
        report = place.audit("app.log")
        assert ("complete", 0, 0, 6002, 2, 0, 0) == counted(
            report, "records", "runs", "torn", "duplicates"
        )

    def test_drops_are_declared(self, place):
        """A queue that is too small costs records, and the file says how many and which."""
        path = place.directory / "app.log"
        hydra.configure(
            destinations=[str(path)], queue={"records": 4, "reserve": 4, "when_full": "drop_new"}
        )
        receipts = [hydra.info("step", n=n) for n in range(2000)]
        stats = hydra.close()
        dropped = sum(receipt is hydra.DROPPED for receipt in receipts)

        assert dropped > 0
        assert (dropped, True) == (stats.dropped, stats.balanced)
        assert ("complete", 0, 0, dropped, 2000 - dropped) == counted(
            place.audit("app.log"), "declared_dropped", "records"
        )

    def test_rotated_and_compressed(self, place):
        """A file that was rotated under the writer is complete with its siblings only."""
        path = place.directory / "app.log"
        hydra.configure(destinations=[str(path)])
        for part in range(3):
            for n in range(100):
                hydra.info("step", part=part, n=n)
            hydra.flush()
            if part == 0:
                path.with_name("app.log.2.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
            elif part == 1:
                path.rename(path.with_name("app.log.1"))
        hydra.close()

        whole = place.audit("app.log", "app.log.1", "app.log.2.gz")
        partly = place.audit("app.log", "app.log.2.gz")

        assert ("complete", 0, 0, 300) == counted(whole, "records")
        assert ("incomplete", 1, 100, 200) == counted(partly, "records")


@pytest.fixture
def written(place):
    """Return the lines of a run with both lanes, drops and a close record, and their place."""
    path = place.directory / "app.log"
    queue = {"records": 8, "reserve": 50, "when_full": "drop_new"}
    hydra.configure(level="debug", destinations=[str(path)], queue=queue)
    for n in range(60):
        hydra.info("step", n=n)
        if n % 10 == 0:
            hydra.error("bad", n=n)
    hydra.flush()
    for n in range(5):
        hydra.info("later", n=n)
    hydra.close()
    return path, path.read_bytes().splitlines(keepends=True)


class TestDamaged:
    """Whatever single line is taken, doubled or torn: the verdict is never free of it."""

    def test_any_line_deleted(self, written, tmp_path):
        """Every line is missed: a record as incomplete, the close record as unclean."""
        _, lines = written
        damaged = tmp_path / "damaged.log"
        verdicts = []
        for at in range(len(lines)):
            damaged.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
            report, status = in_process(damaged)
            # Without its declaration, what was dropped is missing.
            lost = json.loads(lines[at]).get("count", 0) + 1
            verdicts.append((report["verdict"], status, report["missing"] - lost))

        assert b'"event":"close"' in lines[-1]
        assert [("incomplete", 1, 0)] * (len(lines) - 1) + [("unclean", 0, -1)] == verdicts

    def test_any_line_torn(self, written, tmp_path):
        """A line that lost more than its newline is counted as torn, and its number is missed."""
        _, lines = written
        damaged = tmp_path / "damaged.log"
        wrong = []
        for at, line in enumerate(lines):
            for cut in (2, len(line) // 2, len(line) - 2):
                rest = b"".join(lines[at + 1 :])
                damaged.write_bytes(b"".join(lines[:at]) + line[:-cut] + rest)
                report, _ = in_process(damaged)
                if report["verdict"] == "complete" or report["torn"] == 0:
                    wrong.append((at, cut, report["verdict"]))

        assert [] == wrong

    @pytest.mark.parametrize("where", ["first", "middle", "last before the close"])
    def test_through_the_command_line(self, written, place, where):
        """Deleted: incomplete. Doubled: complete, and said."""
        path, lines = written
        at = {"first": 0, "middle": len(lines) // 2, "last before the close": len(lines) - 2}[where]
        lost = json.loads(lines[at]).get("count", 0) + 1
        path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
        deleted = place.audit("app.log")
        path.write_bytes(b"".join([*lines[:at], lines[at], *lines[at:]]))
        doubled = place.audit("app.log")

        assert ("incomplete", 1, lost) == counted(deleted)
        assert ("complete", 0, 0, 1) == counted(doubled, "duplicates")


class TestOutage:
    """Records that took another way are accounted for where they went."""

    BROKEN = """
        import hydra, os, pathlib, sys
        logs = pathlib.Path("logs")
        logs.mkdir()
        hydra.configure(app="shop", destinations=[{
            "path": "logs/app.log", "retries": 0, "timeout": 1.0, "fallback": FALLBACK}])
        for n in range(10):
            hydra.info("before", n=n)
        hydra.flush()
        # A path whose parent is no directory cannot be opened, by root neither.
        logs.rename("away")
        logs.write_bytes(b"")
        hydra.error("diverted", n=1)
        hydra.info("diverted", n=2)
        hydra.flush(2)
    """

    def test_diverted_to_standard_error(self, place):
        """What standard error took instead is declared in the file, as diverted."""
        script = (
            self.BROKEN.replace("FALLBACK", '["stderr"]')
            + """
        logs.unlink()
        pathlib.Path("away").rename(logs)
        hydra.info("after")
        hydra.close()
        """
        )
        _, err = place.run(script)

        away = [json.loads(line)["message"] for line in err.splitlines()]

        # What is logged right after the repair may find the breaker still open.
        assert away in (["diverted"] * 2, ["diverted", "diverted", "after"])
        assert ("complete", 0, 0, len(away), 13 - len(away)) == counted(
            place.audit("logs/app.log"), "declared_diverted", "records"
        )

    def test_held_file_read_along(self, place):
        """What is held counts as held when its file is given; the next start delivers it."""
        place.run(self.BROKEN.replace("FALLBACK", '["held/app", "stderr"]'))
        (place.directory / "logs").unlink()
        (place.directory / "away").rename(place.directory / "logs")
        alone = place.audit("logs/app.log")
        along = place.audit("logs/app.log", "held", place.state)

        assert ("unclean", 0, 0, 0) == counted(alone, "held")
        # The close record is held, too.
        assert ("complete", 0, 0, 2) == counted(along, "held")

        place.run("""
            import hydra
            hydra.configure(app="shop", destinations=[{
                "path": "logs/app.log", "fallback": ["held/app", "stderr"]}])
            hydra.info("again")
            hydra.flush()
        """)
        after = place.audit("logs/app.log")

        assert ("complete", 0, 0, 13, 0) == counted(after, "records", "duplicates")
        assert [] == list((place.directory / "held").glob("*.held"))

    def test_killed_process_with_its_journal(self, place):
        """An ERROR that no writer had time for is in the journal, and counts as held."""
        script = """
            import hydra, os, signal
            hydra.configure(app="shop", destinations=["app.log"])
            hydra.info("before")
            hydra.flush()
            for n in range(100):
                hydra.error("payment failed", n=n)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        place.run(script, status=-signal.SIGKILL)
        report = place.audit("app.log", place.state)

        assert ("unclean", 0, 0) == counted(report)
        assert 101 == report["records"] + report["held"]

        place.run("""
            import hydra
            hydra.configure(app="shop", destinations=["app.log"])
            hydra.info("again")
        """)
        after = place.audit("app.log", place.state) if os.path.exists(place.state) else (
            place.audit("app.log"))  # fmt: skip

        assert ("unclean", 0, 0, 102, 0) == counted(after, "records", "duplicates")
        assert list(range(100)) == sorted(r["n"] for r in place.records("app.log") if "n" in r)
