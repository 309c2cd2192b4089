"""
State directory: the first place that can keep journals and held records.

Rule 1: a place is used only if nobody else can plant files in it: it is owned by us,
nobody else may write to it, and what it stands in belongs to us or to root.
Rule 2: a place counts as usable once a file was written there, never by looks:
read-only mounts, quotas and full disks do not show in permission bits.
Rule 3: why a place was refused is kept, so that it can be told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

VARIABLE: Final = "HYDRA_STATE_DIR"
_MODE: Final = 0o700
_OTHERS: Final = 0o022
# Anybody may create entries in these; `prepare` accepts none that is not ours alone.
_SHARED: Final = ("/var/tmp", "/dev/shm")

Probe: TypeAlias = Callable[["Candidate", int | None], str | None]


class Candidate(NamedTuple):
    """One place that might do: its root, the directory of the app in it, whence it comes."""

    root: str
    path: str
    origin: str
    shared: bool
    """Whether anybody may create entries beside the root, as in /var/tmp."""


class Refusal(NamedTuple):
    """A place that cannot be used, and why."""

    place: str
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place} ({self.origin}): {self.reason}"


class StateDirectory(NamedTuple):
    """
    What the search found.

    `path` is an existing directory of mode 0700, or None; `origin` says whence it
    comes; `refused` tells of all places before it.
    """

    path: str | None
    origin: str
    refused: tuple[Refusal, ...]

    @property
    def reason(self) -> str:
        """Why the places before `path` are not used, in one line; empty if it was the first."""
        return "; ".join(map(str, self.refused))


def state_directory(
    app: str,
    *,
    explicit: str | None = None,
    environ: Mapping[str, str] | None = None,
    uid: int | None = None,
    home: Callable[[], str | None] | None = None,
    probe: Probe | None = None,
) -> StateDirectory:
    """
    Return the first usable state directory of *app*, created if need be.

    Args:
        app: The name of the application, as in the settings.
        explicit: `state_dir` of the settings; the first place to be tried.
        environ: The environment; None: that of the process.
        uid: Whose directory it must be; None: the effective user.
        home: Gives the home directory where `HOME` is not set.
        probe: Makes a place ready and says why it cannot be used; None: on the
            real file system.
    """
    variables: Mapping[str, str] = os.environ if environ is None else environ
    owner = _effective_uid() if uid is None else uid
    places = candidates(app, explicit, variables, owner, home or _home)
    refused: list[Refusal] = []
    for place in places:
        if isinstance(place, Refusal):
            refused.append(place)
            continue
        reason = (probe or prepare)(place, owner)
        if reason is None:
            return StateDirectory(place.path, place.origin, tuple(refused))
        refused.append(Refusal(place.path, place.origin, reason))
    return StateDirectory(None, "", tuple(refused))


def candidates(
    app: str,
    explicit: str | None,
    environ: Mapping[str, str],
    uid: int | None,
    home: Callable[[], str | None],
) -> list[Candidate | Refusal]:
    """Return the places to be tried, in order, and those ruled out by their name alone."""
    user = "user" if uid is None else str(uid)
    where_home = environ.get("HOME") or home()
    roots: list[tuple[str | None, str, bool]] = [
        (explicit, "state_dir", False),
        (environ.get(VARIABLE), VARIABLE, False),
        (_under(environ.get("XDG_STATE_HOME"), "hydra"), "XDG_STATE_HOME", False),
        (_under(where_home, ".local", "state", "hydra"), "home directory", False),
        *((f"{directory}/hydra-{user}", directory, True) for directory in _SHARED),
    ]
    places: list[Candidate | Refusal] = []
    for root, origin, shared in roots:
        if not root:
            if origin == "home directory":
                places.append(Refusal("~", origin, "the user has none"))
        elif not os.path.isabs(root) or "\0" in root:
            places.append(Refusal(root, origin, "is not an absolute path"))
        elif not any(isinstance(place, Candidate) and place.root == root for place in places):
            places.append(Candidate(root, os.path.join(root, app), origin, shared))
    return places


def prepare(place: Candidate, uid: int | None) -> str | None:
    """
    Create the directories of *place* and write a file there; say why it cannot be used.

    Never raises; what was created stays. With *uid* None (no user ids on this
    platform) owners and permission bits are not looked at.
    """
    try:
        parent = _existing(place.root)
        if parent != place.root and (reason := _unsafe(os.stat(parent), uid, "its parent")):
            return reason
        os.makedirs(os.path.dirname(place.root), mode=_MODE, exist_ok=True)
        for directory in (place.root, place.path):
            if (reason := _ready(directory, place, uid)) is not None:
                return reason
        _write(os.path.join(place.path, f".probe-{os.getpid()}"))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _ready(directory: str, place: Candidate, uid: int | None) -> str | None:
    """Make sure of *directory*: there, a directory, ours."""
    try:
        os.mkdir(directory, _MODE)
    except FileExistsError:
        pass  # Judged below like one just made, since others may have made it.
    is_leaf = directory == place.path
    found = os.lstat(directory) if is_leaf or place.shared else os.stat(directory)
    if not stat.S_ISDIR(found.st_mode):
        return "is no directory, or a link to one"
    if not is_leaf and not place.shared:
        return _unsafe(found, uid, "it")
    if uid is None:
        return None
    if found.st_uid != uid:
        return f"belongs to user {found.st_uid}"
    if found.st_mode & _OTHERS:
        return "others may write to it"
    if stat.S_IMODE(found.st_mode) != _MODE:
        os.chmod(directory, _MODE)
    return None


def _unsafe(found: os.stat_result, uid: int | None, what: str) -> str | None:
    """Say why somebody else could swap what is created in the directory *found*."""
    if uid is None:
        return None
    if found.st_uid not in (uid, 0):
        return f"{what} belongs to user {found.st_uid}"
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        return f"{what} may be written to by everybody"
    return None


def _write(path: str) -> None:
    nameless = getattr(os, "O_TMPFILE", 0)
    if nameless:
        # A file without a name: a process killed at this point leaves nothing behind.
        try:
            descriptor = os.open(os.path.dirname(path), os.O_WRONLY | nameless, 0o600)
        except OSError:
            """This file system has none; or the attempt below fails in its own words."""
        else:
            try:
                os.write(descriptor, b"hydra")
            finally:
                os.close(descriptor)
            return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        # Left behind by an earlier process of this number, killed at this point.
        os.unlink(path)
        descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, b"hydra")
    finally:
        os.close(descriptor)
        os.unlink(path)


def _existing(path: str) -> str:
    while not os.path.lexists(path) and (parent := os.path.dirname(path)) != path:
        path = parent
    return path


def _under(root: str | None, *parts: str) -> str | None:
    return os.path.join(root, *parts) if root else None


def _effective_uid() -> int | None:
    geteuid: Callable[[], int] | None = getattr(os, "geteuid", None)
    return geteuid() if geteuid is not None else None


def _home() -> str | None:
    """Return the home directory of the user data base; containers run users without entry."""
    found = os.path.expanduser("~")
    return found if os.path.isabs(found) else None
