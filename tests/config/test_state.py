from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra.config import _state as state
from hydra.config import state_directory

pytestmark = pytest.mark.unit


def found(*usable: str, **given: object) -> state.StateDirectory:
    """Search with a probe that accepts paths under *usable* only."""

    def probe(place: state.Candidate, uid: int | None) -> str | None:
        return None if place.path.startswith(usable or ("-",)) else "read-only"

    return state_directory(
        "shop", **{"environ": {"HOME": "/h"}, "uid": 7, "home": lambda: None, **given}, probe=probe
    )


def test_order_of_places() -> None:
    """
    Explicit, HYDRA_STATE_DIR, XDG, home, /var/tmp, /dev/shm: all are tried, in this order.
    """
    environ = {"HYDRA_STATE_DIR": "/e", "XDG_STATE_HOME": "/x", "HOME": "/h"}
    search = found(explicit="/s", environ=environ)

    assert None is search.path
    assert [
        "/s/shop",
        "/e/shop",
        "/x/hydra/shop",
        "/h/.local/state/hydra/shop",
        "/var/tmp/hydra-7/shop",
        "/dev/shm/hydra-7/shop",
    ] == [refusal.place for refusal in search.refused]


def test_reasons_are_told() -> None:
    """
    The result says whence the directory comes and why those before it are not used.
    """
    search = found(
        "/var/tmp", explicit="/s", environ={"HYDRA_STATE_DIR": "/s", "XDG_STATE_HOME": "x"}
    )

    assert ("/var/tmp/hydra-7/shop", "/var/tmp") == (search.path, search.origin)
    assert (
        "/s/shop (state_dir): read-only; "
        "x/hydra (XDG_STATE_HOME): is not an absolute path; "
        "~ (home directory): the user has none"
    ) == search.reason


def test_user_without_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A user that the data base does not know, with HOME unset, gets a place in /var/tmp.
    """
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    search = found("/var/tmp", environ={}, home=None)

    assert "/var/tmp/hydra-7/shop" == search.path


def test_platform_without_user_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where there are no user ids, the shared places carry a word instead.
    """
    monkeypatch.delattr(os, "geteuid")
    search = found("/dev/shm", uid=None)

    assert "/dev/shm/hydra-user/shop" == search.path


def test_real_directory(tmp_path: Path) -> None:
    """
    On the real file system the directory is made, for us alone, and left empty.
    """
    environ = {"XDG_STATE_HOME": str(tmp_path / "deep" / "state")}
    search = state_directory("shop", environ=environ)
    path = tmp_path / "deep" / "state" / "hydra" / "shop"

    assert (str(path), ()) == (search.path, search.refused)
    assert 0o700 == stat.S_IMODE(path.stat().st_mode)
    assert [] == list(path.iterdir())


def test_from_the_real_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without arguments the environment of the process is asked.
    """
    monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path))

    assert (str(tmp_path / "shop"), "HYDRA_STATE_DIR") == state_directory("shop")[:2]


def _place(root: Path, *, shared: bool = False) -> state.Candidate:
    return state.Candidate(str(root), str(root / "shop"), "test", shared)


def _others_write_leaf(root: Path) -> None:
    (root / "shop").mkdir(parents=True)
    (root / "shop").chmod(0o770)


def _link_for_leaf(root: Path) -> None:
    root.mkdir()
    (root / "shop").symlink_to("/")


def _file_for_root(root: Path) -> None:
    root.write_text("")


def _open_root(root: Path) -> None:
    root.mkdir()
    root.chmod(0o777)


def _open_parent(root: Path) -> None:
    root.parent.mkdir(exist_ok=True)
    root.parent.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_others_write_leaf, "others may write to it"),
        (_link_for_leaf, "is no directory, or a link to one"),
        (_file_for_root, "is no directory, or a link to one"),
        (_open_root, "it may be written to by everybody"),
        (_open_parent, "its parent may be written to by everybody"),
    ],
)
def test_unsafe_places(tmp_path: Path, spoil: Callable[[Path], None], reason: str) -> None:
    """
    A place where somebody else can plant or swap files is refused.
    """
    root = tmp_path / "parent" / "root"
    root.parent.mkdir()
    spoil(root)

    assert reason == state.prepare(_place(root), os.geteuid())


def test_sticky_root_is_safe(tmp_path: Path) -> None:
    """
    A directory like /var/tmp may hold ours, since nobody else can rename it there.
    """
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o1777)

    assert None is state.prepare(_place(root), os.geteuid())


def test_planted_link_in_a_shared_place(tmp_path: Path) -> None:
    """
    In /var/tmp the root itself must be a directory of ours, never a link to one.
    """
    (tmp_path / "mine").mkdir()
    (tmp_path / "root").symlink_to("mine")
    root = tmp_path / "root"

    assert None is state.prepare(_place(root), os.geteuid())
    assert "is no directory, or a link to one" == state.prepare(
        _place(root, shared=True), os.geteuid()
    )


def test_places_of_other_users(tmp_path: Path) -> None:
    """
    A directory of another user is refused, as root and as leaf and as parent.
    """
    uid = os.geteuid()
    other = uid + 1
    root = tmp_path / "root"
    made = state.prepare(_place(root), uid)

    assert None is made
    assert state.prepare(_place(root, shared=True), other) == f"belongs to user {uid}"
    if uid:
        assert state.prepare(_place(root), other) == f"it belongs to user {uid}"
    found = os.stat_result((0o40700, 0, 0, 1, 5, 5, 0, 0, 0, 0))
    assert "it belongs to user 5" == state._unsafe(found, 7, "it")


def test_directory_of_root_is_safe() -> None:
    """
    What root owns and only root may change can hold a directory of ours.
    """
    found = os.stat_result((0o40755, 0, 0, 1, 0, 0, 0, 0, 0, 0))

    assert None is state._unsafe(found, 7, "it")


def test_own_directory_is_tightened(tmp_path: Path) -> None:
    """
    A directory of ours that others can read is closed to them, not refused.
    """
    leaf = tmp_path / "root" / "shop"
    leaf.mkdir(parents=True)
    leaf.chmod(0o755)

    assert None is state.prepare(_place(tmp_path / "root"), os.geteuid())
    assert 0o700 == stat.S_IMODE(leaf.stat().st_mode)


def test_without_user_ids_only_writing_counts(tmp_path: Path) -> None:
    """
    On a platform without user ids nothing is said about owners and bits.
    """
    root = tmp_path / "root"
    _others_write_leaf(root)

    assert None is state.prepare(_place(root), None)
    assert None is state.prepare(_place(tmp_path / "new"), None)


def test_leftover_probe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where files need a name, the probe that a killed process of this number left is replaced.
    """
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    leaf = tmp_path / "root" / "shop"
    leaf.mkdir(parents=True, mode=0o700)
    (leaf / f".probe-{os.getpid()}").write_text("old")

    assert None is state.prepare(_place(tmp_path / "root"), os.geteuid())
    assert [] == list(leaf.iterdir())


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A place where nothing can be written is refused with the words of the system.
    """

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)

    assert "No space left on device" == state.prepare(_place(tmp_path / "root"), os.geteuid())
    assert [] == list((tmp_path / "root" / "shop").iterdir())
