"""
What `hydra doctor` looks at: one function per matter, each giving findings.

Rule 1: a check looks and reports; nothing is mended here. Only the state directory
is made, since whether it can be made is the question.
Rule 2: what a check needs to know of the world is handed in, so that each answer
can be had in a test.
Rule 3: values of environment variables are never shown; some hold secrets.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal

from fallbacks.pure import SWITCH

from ..config import Settings, StateDirectory, load, state_directory
from ..config._defaults import STRATEGY
from ..core.exceptions import ConfigurationError
from ._version import installed_version
from .audit._sources import shown

Status = Literal["ok", "note", "wrong"]

OLDEST_PYTHON: Final = (3, 11)
NEEDED: Final = ("anyio", "aiofiles", "click", "msgspec")
EXTRAS: Final = {
    "uvloop": "uvloop: the engine loop runs on the loop of asyncio without it",
    "structlog": "hydra-log[structlog]: no structlog integration without it",
    "trio": "hydra-log[trio]: no awaiting from trio without it",
    "yaml": "hydra-log[yaml]: no configuration files in YAML without it",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer: *status* `wrong` is what makes the doctor fail."""

    check: str
    status: Status
    text: str


def check_version(version: str | None, python: tuple[int, ...]) -> Iterator[Finding]:
    """Say which Hydra and which Python this is."""
    name = version or "not installed, run from source"
    yield Finding("version", "ok" if version else "note", f"hydra-log {name}")
    oldest = ".".join(map(str, OLDEST_PYTHON))
    status: Status = "ok" if python >= OLDEST_PYTHON else "wrong"
    text = f"{platform.python_implementation()} {'.'.join(map(str, python))}"
    yield Finding("python", status, text if status == "ok" else f"{text}; {oldest} is needed")


def check_installation(
    version_of: Callable[[str], str | None] = installed_version,
) -> Iterator[Finding]:
    """Say whether hydra-core, which has a package of the same name, is installed too."""
    other = version_of("hydra-core")
    if other is None:
        yield Finding("installation", "ok", "no other distribution brings a package named hydra")
    else:
        yield Finding(
            "installation",
            "wrong",
            f"hydra-core {other} is installed and brings a package named hydra too; "
            "pip uninstall hydra-core hydra-log, then install the one you want "
            "(or each in an environment of its own)",
        )


def check_dependencies(
    is_there: Callable[[str], bool] = lambda name: find_spec(name) is not None,
) -> Iterator[Finding]:
    """Say which packages are missing, needed ones and optional ones."""
    for name in NEEDED:
        if not is_there(name):
            yield Finding("dependencies", "wrong", f"{name} is missing: pip install {name}")
    for name, text in EXTRAS.items():
        found = is_there(name)
        yield Finding(
            "dependencies",
            "ok" if found else "note",
            f"{name} is installed" if found else f"{name} is not installed (pip install {text})",
        )


def check_call_path(*, compiled: bool, turned_off: bool) -> Iterator[Finding]:
    """Say whether the call path is compiled here, and why not."""
    if compiled:
        yield Finding("call path", "ok", "compiled")
        return
    cause = (
        f"{SWITCH} is set"
        if turned_off
        else "the extension was not built for this interpreter; install a C compiler and the "
        "headers of Python, then hydra-log again"
    )
    yield Finding(
        "call path",
        "note",
        f"pure Python ({cause}): a call takes several times as long, everything else is the same",
    )


def check_configuration(
    file: str | None, environ: Mapping[str, str]
) -> tuple[Settings | None, list[Finding]]:
    """Return the settings in force, None when there are none, and what is to be said."""
    findings = []
    names = sorted(name for name in environ if name.startswith("HYDRA_"))
    if names:
        findings.append(Finding("configuration", "ok", f"set: {shown(', '.join(names))}"))
    try:
        settings = load(file=file, environ=environ)
    except ConfigurationError as error:
        findings += [Finding("configuration", "wrong", shown(str(p))) for p in error.problems]
        return None, findings
    findings.append(
        Finding("configuration", "ok", f"app {settings.app}, level number {settings.level}")
    )
    for each in settings.destinations:
        where = shown(each.path) if each.path else each.stream
        said = f"destination {each.name}: {each.type} {where}"
        if each.strategy != STRATEGY:
            said += f", {each.strategy}, copies {each.copies}"
        findings.append(Finding("configuration", "ok", said))
    return settings, findings


def check_state(
    settings: Settings,
    environ: Mapping[str, str],
    search: Callable[..., StateDirectory] = state_directory,
) -> tuple[str | None, list[Finding]]:
    """Return the state directory, None when there is none, and what was refused and why."""
    found = search(settings.app, explicit=settings.state_dir, environ=environ)
    findings = [Finding("state", "note", f"refused {shown(str(each))}") for each in found.refused]
    if found.path is None:
        findings.append(
            Finding(
                "state",
                "wrong",
                "no usable state directory: there is no journal, so errors do not survive "
                "the process; set HYDRA_STATE_DIR to a directory of yours",
            )
        )
    else:
        findings.append(Finding("state", "ok", f"{shown(found.path)} ({found.origin})"))
        others = neighbours(found.path)
        if others:
            findings.append(
                Finding(
                    "state",
                    "note",
                    f"{shown(os.path.dirname(found.path))} is also that of "
                    f"{shown(', '.join(others))}; HYDRA_APP=NAME hydra doctor looks at one of them",
                )
            )
    return found.path, findings


def neighbours(state: str) -> list[str]:
    """Return the other applications that keep something beside the directory *state*."""
    root, app = os.path.split(state)
    try:
        with os.scandir(root) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name != app
                and entry.is_dir(follow_symlinks=False)
                and os.listdir(entry.path)
            )
    except OSError:
        # Somebody else's, or gone meanwhile: nothing that this application lacks.
        return []


def check_files(settings: Settings) -> Iterator[Finding]:
    """Say of each file destination whether the file can be written."""
    for path in file_paths(settings):
        parent = os.path.dirname(path)
        while not os.path.lexists(parent):
            parent = os.path.dirname(parent)
        if os.path.lexists(path):
            if not os.path.isfile(path) or os.path.islink(path):
                yield Finding("files", "wrong", f"{shown(path)} is not a regular file")
            elif not os.access(path, os.W_OK):
                yield Finding("files", "wrong", f"{shown(path)} may not be written to")
            else:
                yield Finding("files", "ok", f"{shown(path)} can be written")
        elif not os.path.isdir(parent) or not os.access(parent, os.W_OK | os.X_OK):
            yield Finding("files", "wrong", f"{shown(path)} cannot be made in {shown(parent)}")
        else:
            yield Finding("files", "ok", f"{shown(path)} can be made")


def file_paths(settings: Settings) -> list[str]:
    """Return the paths of all file destinations and their copies, those of layers too, once."""
    of_layers = (each.destinations or () for each in settings.layers.values())
    destinations = [*settings.destinations, *(each for some in of_layers for each in some)]
    paths = {each.path for each in destinations}
    paths |= {copy.path for each in destinations for copy in each.fallback or () if copy.copies}
    return sorted(filter(None, paths))


def check_space(
    settings: Settings,
    directories: list[str],
    free_of: Callable[[str], int] = lambda path: shutil.disk_usage(path).free,
) -> Iterator[Finding]:
    """Say where less is free than the journal may grow to."""
    need = settings.journal.quota
    for path in directories:
        there = path
        while not os.path.isdir(there):
            there = os.path.dirname(there)
        try:
            free = free_of(there)
        except OSError as error:
            yield Finding("space", "wrong", f"{shown(there)}: {error.strerror or error}")
            continue
        text = f"{mebibytes(free)} free in {shown(there)}"
        if free < need:
            yield Finding("space", "wrong", f"{text}; the journal may need {mebibytes(need)}")
        else:
            yield Finding("space", "ok", text)


def mebibytes(size: int) -> str:
    """Return *size* in bytes as text in MiB."""
    return f"{size / 1024 / 1024:,.1f} MiB"


def check_terminal(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Say which standard streams are terminals and what decides about colour."""
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        what = "a terminal" if stream.isatty() else "not a terminal"
        yield Finding("terminal", "ok", f"{name} is {what}")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        if environ.get(name):
            yield Finding("terminal", "ok", f"{name} is set")
    if environ.get("TERM") == "dumb":
        yield Finding("terminal", "ok", "TERM is dumb: no colours")
