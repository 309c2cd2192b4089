"""
The exceptions that Hydra raises to its users, one tree.

    Exception
    +-- HydraError (also named HydraLoggerException)
        +-- ConfigurationError (also a ValueError)   the settings are wrong: mend them

Logging calls raise none of these: a record that cannot be kept is counted, not raised.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

_VALUE_LIMIT: Final = 120
# Settings are shown back to whoever wrote them, often in a deployment log, so a
# value under such a name is masked. Only names of settings are matched here; the
# fields of records are judged by the redactor of the processors.
_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|credential|auth|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|cookie|dsn|jwt",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s'\"]{0,512}@")


class HydraError(Exception):
    """The root of all exceptions that Hydra raises on purpose."""


HydraLoggerException = HydraError


class HydraWarning(RuntimeWarning):
    """Something works, but with a guarantee less than it should have."""


class Problem(Struct, frozen=True):
    """
    One thing that is wrong with a configuration.

    Args:
        path: Where it stands, as in `destinations[0].timeout`.
        message: What is wrong with it, without the value.
        value: The offending value; masked when *path* names a secret.
        choices: What would have been right, if that can be listed.
    """

    path: str
    message: str
    value: object = None
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        if self.value is not None:
            text += f" (got {_shown(self.path, self.value)})"
        if self.choices:
            text += f"; choose one of {', '.join(self.choices)}"
        return text


class ConfigurationError(HydraError, ValueError):
    """
    Raised by `configure` with everything that is wrong, not only the first thing.

    Args:
        problems: What is wrong; a plain text stands for one problem without a path.

    Attributes:
        problems: The problems in the order in which they were found.
    """

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: tuple[Problem, ...] = tuple(
            problem if isinstance(problem, Problem) else Problem("", problem)
            for problem in problems
        )
        # The problems are the arguments, so that pickling rebuilds the exception.
        super().__init__(*self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def _shown(path: str, value: object) -> str:
    """Return *value* as shown to the user: masked, on one line, at most 120 characters."""
    if _SECRET.search(path.rpartition(".")[2]):
        return "***"
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        # A container may hold a secret under a name that *path* does not show.
        return f"a {type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except Exception as error:
        text = f"<unprintable {type(value).__name__}: {type(error).__name__}>"
    text = _USERINFO.sub("***@", text)
    return text if len(text) <= _VALUE_LIMIT else text[: _VALUE_LIMIT - 3] + "..."
