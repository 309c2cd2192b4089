from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.environment import REQUIREMENTS, requirements
from benchmarks.peers import TABLE, load

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
TEXT = "order placed seq=7 user=alice path=/api/v1/orders status=200 ms=12.5"
FIELDS = {"seq": 7, "user": "alice", "path": "/api/v1/orders", "status": 200, "ms": 12.5}


def _json(**record: object) -> str:
    return json.dumps(record)


TOP = _json(timestamp="t", message="order placed", level="error", **FIELDS)
LOGURU = _json(text="x", record={"extra": FIELDS, "level": {"name": "ERROR", "no": 40}})
FAPILOG = _json(log={"data": FIELDS, "level": "ERROR", "message": "order placed"})
HYDRA_LOGGER = _json(level=40, level_name="ERROR", message="order placed", extra=FIELDS)
STDLIB = f"2026-11-21 14:53:25,771 - bench - ERROR - {TEXT}"
# As each of them writes it.
LINES = {
    "floor": TOP,
    "hydra": _json(
        timestamp="t", level="error", logger="bench", message="m", **FIELDS, id="r.2r-1"
    ),
    "stdlib": STDLIB,
    "stdlib queue": STDLIB,
    "structlog": TOP,
    "structlog ainfo": TOP,
    "loguru": LOGURU,
    "loguru enqueue": LOGURU,
    "picologging": f"ERROR:bench:{TEXT}",
    "picologging json": TOP,
    "logbook": f"[2026-11-21 14:53:26.662811] ERROR: bench: {TEXT}",
    "fastlogging": f"26.11.21 14:53:26: root: ERROR  : {TEXT}",
    "aiologger": _json(logged_at="t", level="ERROR", msg={"message": "m", **FIELDS}),
    "aiologging": STDLIB,
    "fapilog": FAPILOG,
    "fapilog async": FAPILOG,
    "hydra-logger": HYDRA_LOGGER,
    "hydra-logger async": HYDRA_LOGGER,
    "opentelemetry": _json(body="m", severity_text="ERROR", attributes=FIELDS),
}


def test_no_library_is_imported_to_find_out_about_it() -> None:
    """
    All adapters can be made where none of the libraries is installed.
    """
    code = (
        "import sys; from benchmarks.peers import TABLE, load; adapters = [load(n) for n in TABLE];"
        "roots = {m.partition('.')[0] for a in adapters for m in a.modules} | {'asyncio'};"
        "print(sorted(roots & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ("[]\n", "") == (said.stdout, said.stderr)


@pytest.mark.parametrize("name", TABLE)
def test_adapter_says_what_the_tables_need(name: str) -> None:
    """
    An adapter has the name it is listed under, a page that it follows, and a docstring.
    """
    adapter = load(name)

    assert adapter.name == name
    assert adapter.page.startswith(("https://", "docs/"))
    assert adapter.modules
    assert type(adapter).__doc__


def test_name_that_is_not_listed_is_refused() -> None:
    """
    An unknown library is refused with the names that there are.
    """
    with pytest.raises(ValueError, match=r"no library is called 'spdlog'.*structlog"):
        load("spdlog")


@pytest.mark.parametrize("name", TABLE)
def test_line_of_a_library_is_read(name: str) -> None:
    """
    A line as the library writes it gives its number and level.
    """
    assert load(name).parse(LINES[name].encode()) == (7, "error")


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_part_of_a_line_is_not_read(name: str, share: float) -> None:
    """
    A line that was cut anywhere is refused, whichever library wrote it.
    """
    line = LINES[name].encode()

    with pytest.raises((ValueError, LookupError, TypeError)):
        load(name).parse(line[: int(len(line) * share)])


@pytest.mark.parametrize("name", [name for name in TABLE if load(name).promises.structured])
def test_field_of_another_type_is_not_read(name: str) -> None:
    """
    A structured line whose number became text has lost a field.
    """
    line = LINES[name].replace('"seq": 7', '"seq": "7"').encode()

    with pytest.raises((ValueError, LookupError, TypeError)):
        load(name).parse(line)


def test_each_requirement_is_exact() -> None:
    """
    A figure is about one version of a peer: each is pinned, and each peer is installed.
    """
    wanted = requirements(REQUIREMENTS.read_text(encoding="utf-8"))
    names = {requirement.partition("==")[0] for requirement in wanted}
    packages = {getattr(load(n), "package", "") or n for n in TABLE} - {"hydra-log"}

    assert [] == [requirement for requirement in wanted if requirement.count("==") != 1]
    assert set() == {p for p in packages if not p.startswith("stdlib")} - names


def test_comments_are_no_requirements() -> None:
    """
    A requirements file is read without its comments and empty lines.
    """
    assert ["a==1", "b==2"] == requirements("# head\na==1\n\n  b==2  # why\n")
