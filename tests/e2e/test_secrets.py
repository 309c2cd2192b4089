"""
A secret under a telling name reaches no file and no terminal, on whichever way a record takes.
"""

from __future__ import annotations

import signal

import pytest

pytestmark = pytest.mark.e2e

SECRET = "hunter2-planted"

# Each place also carries the word `visible`, so that an empty file proves nothing.
PLANT = """
import collections, dataclasses, enum, hydra, msgspec, os, pathlib, signal, types
SECRET = "hunter2" + "-planted"
log = hydra.get_logger("shop")

@dataclasses.dataclass
class User:
    name: str
    password: str

class Struct(msgspec.Struct):
    name: str
    api_key: str

class Point(collections.namedtuple("Point", "name token")):
    pass

class Name(str, enum.Enum):
    KEY = "password"

def deep(depth):
    found = {"password": SECRET, "seen": "visible"}
    for n in range(depth):
        found = [found] if n % 2 else {"layer": found}
    return found

def plant(call):
    call("plain", password=SECRET, seen="visible")
    call("styles", apiKey=SECRET, db_password=SECRET, accessToken=SECRET, PASSWD=SECRET)
    call("bound", **{"X-Api-Key": SECRET, "set-cookie": SECRET, "session.id": SECRET})
    call("kinds", password=SECRET.encode(), token=[SECRET, {"a": SECRET}], secret={SECRET: 1})
    call("number", pwd={"a": [SECRET]}, credentials=(SECRET, SECRET), jwt=SECRET)
    for depth in range(12):
        call("deep", value=deep(depth))
    call("objects", user=User("visible", SECRET), users=[User("x", SECRET)])
    call("objects", struct=Struct("visible", SECRET), point=Point("visible", SECRET))
    call("headers", headers=[("Host", "visible"), ("Authorization", SECRET)])
    call("headers", headers=((b"host", b"visible"), (b"Authorization", SECRET.encode())))
    call("mapping", value=types.MappingProxyType({"password": SECRET}))
    call("keys", value={Name.KEY: SECRET, b"token": SECRET, "Api Key": SECRET})
    call("lazy", value=hydra.lazy(lambda: {"password": SECRET}), jwt=hydra.lazy(lambda: SECRET))
    call("extra", extra={"password": SECRET, "nested": {"token": SECRET}})
    call("wide", value={"filler": "x" * 100_000, "password": SECRET})
    call("long", filler="x" * 100_000, password=SECRET * 10_000)

def everything():
    for call in (log.info, log.error):
        plant(call)
        plant(log.bind(password=SECRET, nested={"token": SECRET}, seen="visible").info)
        with hydra.context(password=SECRET, nested={"token": SECRET}, seen="visible"):
            plant(call)
            plant(log.bind(token=SECRET).error)
    try:
        raise ValueError("visible")
    except ValueError:
        log.exception("failed", password=SECRET, user=User("visible", SECRET))
"""

WAYS = {
    "file and consoles": (
        """
        hydra.configure(app="shop", destinations=["app.log", "stderr",
            {"type": "console", "stream": "stdout", "format": "text"}])
        everything()
        """,
        0,
        {"app.log", "stdout", "stderr"},
    ),
    "held": (
        """
        pathlib.Path("logs").mkdir()
        hydra.configure(app="shop", destinations=[
            {"path": "logs/app.log", "fallback": ["held/app", "stderr"], "retries": 0}])
        pathlib.Path("logs").rename("away")
        pathlib.Path("logs").write_bytes(b"")
        everything()
        """,
        0,
        {".held"},
    ),
    "journal": (
        """
        hydra.configure(app="shop", destinations=["app.log"])
        everything()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        -signal.SIGKILL,
        {".j"},
    ),
}


@pytest.mark.parametrize(("script", "status", "expected"), WAYS.values(), ids=WAYS)
def test_planted_secret(place, script, status, expected):
    """By key, in any style, at any depth, from any source: no file has it."""
    lines = [line.removeprefix("        ") for line in script.splitlines()]
    out, err = place.run(PLANT + "\n".join(lines), status=status)
    (place.directory / "stdout").write_text(out)
    (place.directory / "stderr").write_text(err)
    files = {path: path.read_bytes() for path in place.files()}

    assert [] == [path.name for path, data in files.items() if SECRET.encode() in data]
    assert [] == [path.name for path, data in files.items() if b"hunter2" in data]
    seen = [path.name for path, data in files.items() if b"visible" in data]
    assert all(any(name.endswith(end) for name in seen) for end in expected), seen


def test_what_is_not_hidden(place):
    """Only keys are judged: a secret in a message, or in that of an exception, is shown."""
    script = """
        import hydra
        hydra.configure(app="shop", destinations=["app.log"])
        try:
            raise ValueError("password is hunter2-planted")
        except ValueError:
            hydra.log_exception("password=hunter2-planted", harmless="hunter2-planted")
    """
    place.run(script)
    (record,) = place.records("app.log")

    assert "password=hunter2-planted" == record["message"]
    assert "hunter2-planted" == record["harmless"]
    assert "password is hunter2-planted" == record["exception"]["message"]
