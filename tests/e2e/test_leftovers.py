"""
What dead processes left, through the real command line.
"""

from __future__ import annotations

import json
import signal

import pytest

pytestmark = pytest.mark.e2e

KILLED = """
    import hydra, os, pathlib, signal
    pathlib.Path("logs").mkdir()
    hydra.configure(app="shop", destinations=[
        {"path": "logs/app.log", "retries": 0, "timeout": 1.0}])
    hydra.info("delivered")
    hydra.flush()
    # Nobody can write there any more, so one is held and the next is in the journal.
    pathlib.Path("logs").rename("away")
    pathlib.Path("logs").write_bytes(b"")
    hydra.info("held")
    hydra.flush(2)
    hydra.error("journaled")
    os.kill(os.getpid(), signal.SIGKILL)
"""

CONFIGURATION = """
app = "shop"
[[destinations]]
path = "logs/app.log"
"""


@pytest.fixture
def left(place):
    """Return a place where a process was killed with one record held and one in the journal."""
    place.run(KILLED, status=-signal.SIGKILL)
    (place.directory / "logs").unlink()
    (place.directory / "away").rename(place.directory / "logs")
    (place.directory / "hydra.toml").write_text(CONFIGURATION)
    return place


def listed(place, *arguments):
    """Return what `hydra journal list` shows."""
    done = place.hydra("journal", "list", "--json", *arguments)

    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def waiting(found):
    """Return the kinds of segments that something waits in."""
    return sorted({each["kind"] for each in found if each["waiting"]})


def test_listed(left):
    """Both are found, with and without naming the directory."""
    by_config = listed(left, "--config", "hydra.toml")
    by_name = listed(left, left.state)

    assert {"held", "journal"} == {each["kind"] for each in by_name}
    assert by_config == by_name
    assert {"shop"} == {each["app"] for each in by_name}
    assert [False] * len(by_name) == [each["locked"] for each in by_name]


def test_replayed_to_a_file(left):
    """Everything that waits comes into the file once; then nothing is left."""
    first = left.hydra("replay", "--to", "out.log", left.state)
    again = left.hydra("replay", "--to", "out.log", left.state)

    assert (0, 0) == (first.returncode, again.returncode), first.stderr + again.stderr
    messages = [record["message"] for record in left.records("out.log")]
    assert ["held", "journaled"] == sorted(messages)
    assert [] == waiting(listed(left, left.state))
    report = left.audit("--destination", "app", "logs/app.log", "out.log")
    assert ("unclean", 0, 3) == (report["verdict"], report["missing"], report["records"])


def test_replayed_by_the_engine(left):
    """With a configuration, they go to the destination that they were for."""
    done = left.hydra("replay", "--config", "hydra.toml")

    assert 0 == done.returncode, done.stderr
    records = [record["message"] for record in left.records("logs/app.log")]
    assert ["delivered", "held", "journaled"] == sorted(records)
    assert [] == listed(left, "--config", "hydra.toml")
    report = left.audit("logs/app.log")
    assert (0, 0) == (report["missing"], report["duplicates"])


def test_replayed_by_the_next_start(left):
    """A plain start of the same program delivers them, too."""
    left.run("""
        import hydra
        hydra.configure(file="hydra.toml")
        hydra.info("next")
    """)
    records = [record["message"] for record in left.records("logs/app.log")]

    assert ["delivered", "held", "journaled", "next"] == sorted(records)
    assert not left.state.exists() or [] == list(left.state.iterdir())


def test_purged(left):
    """Not without a yes, and then for good."""
    refused = left.hydra("journal", "purge", left.state)
    kept = listed(left, left.state)
    purged = left.hydra("journal", "purge", "--yes", left.state)

    assert (1, 0) == (refused.returncode, purged.returncode), purged.stderr
    assert kept != []
    assert [] == listed(left, left.state)


def test_the_living_are_left_alone(place):
    """Segments of a running process are shown as locked, and neither purged nor replayed."""
    script = """
        import hydra, sys, time
        hydra.configure(app="shop", destinations=["app.log"])
        hydra.error("alive")
        hydra.flush()
        sys.stdout.write("ready"); sys.stdout.flush()
        time.sleep(30)
    """
    with place.start(script) as process:
        assert process.stdout.read(5) == b"ready"
        shown = listed(place, place.state)
        purged = place.hydra("journal", "purge", "--yes", place.state)
        replayed = place.hydra("replay", "--to", "out.log", place.state)
        after = listed(place, place.state)
        process.terminate()
        process.communicate(timeout=10)

    # There is a spare one, too.
    assert {("journal", True)} == {(each["kind"], each["locked"]) for each in shown}
    assert (1, shown) == (purged.returncode, after)
    # The only record in there is acknowledged: nothing waits, and nothing is touched.
    assert replayed.returncode in {0, 1}
    assert not (place.directory / "out.log").exists() or [] == place.records("out.log")


def test_doctor(left):
    """The doctor tells what was left, and finds the place healthy."""
    done = left.hydra("doctor", "--json", "--config", "hydra.toml")
    report = json.loads(done.stdout)
    notes = " ".join(check["text"] for check in report["checks"] if check["status"] == "note")

    assert (0, True) == (done.returncode, report["healthy"]), done.stdout
    assert "replay" in notes or "left" in notes


def test_doctor_of_a_wrong_configuration(place):
    """Every problem of the configuration is shown, and the exit status says so."""
    (place.directory / "hydra.toml").write_text('lvel = "info"\n[queue]\nrecords = "many"\n')
    done = place.hydra("doctor", "--config", "hydra.toml")

    assert 1 == done.returncode
    expected = ("lvel", "level", "queue.records", "many")
    assert [] == [word for word in expected if word not in done.stdout]
