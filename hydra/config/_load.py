"""
Load: one configuration out of all sources.

Rule 1: defaults, preset, file, environment, keywords: the later overrules the
earlier, option by option; a list is replaced as a whole.
Rule 2: whatever is wrong, in whichever source, is reported in one exception.
Rule 3: nothing is opened, created or started here, the configuration file apart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from ..core.exceptions import ConfigurationError, Problem
from . import _environment as environment
from ._app import default_app
from ._build import build
from ._files import read_file
from ._presets import PRESETS
from ._settings import Settings
from ._shapes import merged, opened
from ._values import NAME


def load(
    config: Mapping[str, object] | Settings | str | os.PathLike[str] | None = None,
    *,
    preset: str | None = None,
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    keywords: Mapping[str, object] | None = None,
) -> Settings:
    """
    Return the settings that all sources make together.

    Args:
        config: A mapping, which counts as keywords; a path, which counts as *file*;
            or settings, which are complete: preset, file and environment are then
            not looked at, and *keywords* overrule them.
        preset: The name of a preset; else `HYDRA_PRESET`, else `preset` in *config*
            or in the file.
        file: The path of a TOML, JSON or YAML file; else `HYDRA_CONFIG`.
        environ: The environment; None: that of the process.
        keywords: Options by name; a value of None is an option that is not given.

    Raises:
        ConfigurationError: With everything that is wrong.
    """
    variables: Mapping[str, str] = os.environ if environ is None else environ
    if isinstance(config, (str, os.PathLike)):
        if file is not None:
            _fail([Problem(path="file", message="is given twice, as config and as file")])
        file, config = config, None
    problems: list[Problem] = []
    if isinstance(config, Settings):
        given = merged(merged({}, _mapping(config, problems)), keywords or {})
        color = None
    else:
        given = _gathered(config, preset, file, variables, keywords or {}, problems)
        color = environment.ambient_color(variables)
    settings, found = build(given, app=_program(), color=color)
    problems += found
    if problems or settings is None:
        _fail(problems)
    return settings


def load_or_default(
    environ: Mapping[str, str] | None = None,
) -> tuple[Settings, tuple[Problem, ...]]:
    """
    Return settings for a program that configures nothing, and what had to be left out.

    Choose it where nothing may be raised: at the first record of a program that
    never called `configure`. If the environment or the file it names is wrong, the
    plain defaults are returned with the problems, for the caller to report.
    """
    try:
        return load(environ=environ), ()
    except ConfigurationError as error:
        return Settings(app=_program()), error.problems


def _gathered(
    config: object,
    preset: str | None,
    file: str | os.PathLike[str] | None,
    environ: Mapping[str, str],
    keywords: Mapping[str, object],
    problems: list[Problem],
) -> dict[str, object]:
    source = file or environ.get(environment.FILE, "").strip()
    low: Mapping[str, object] = {}
    if source:
        try:
            low = read_file(source)
        except ConfigurationError as error:
            problems += error.problems
    high = merged(merged({}, _mapping(config, problems)), keywords)
    named = (preset, high.pop("preset", None), environ.get(environment.PRESET), low.get("preset"))
    base: dict[str, object] = {}
    if (level := environment.ambient_level(environ)) is not None:
        base["level"] = level
    low = {name: value for name, value in low.items() if name != "preset"}
    choice = next((name for name in named if name), None)
    if choice is not None:
        if isinstance(choice, str) and choice.strip().lower() in PRESETS:
            app = high.get("app") or environ.get("HYDRA_APP") or low.get("app")
            known = isinstance(app, str) and NAME.fullmatch(app) is not None
            make = PRESETS[choice.strip().lower()]
            base = merged(base, make(str(app) if known else _program()))
        else:
            message = "is not one of the choices"
            problems.append(
                Problem(path="preset", message=message, value=choice, choices=tuple(PRESETS))
            )
    return merged(environment.overlaid(merged(base, low), environ, problems), high)


def _mapping(config: object, problems: list[Problem]) -> Mapping[str, object]:
    value = opened({} if config is None else config)
    if isinstance(value, Mapping):
        return value
    message = "must be a mapping, a path or settings"
    problems.append(Problem(path="config", message=message, value=value))
    return {}


def _program() -> str:
    interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive)
    return default_app(getattr(sys, "argv", ()), interactive=interactive)


def _fail(problems: list[Problem]) -> NoReturn:
    raise ConfigurationError(*problems)
