from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from importlib import import_module
from pathlib import Path

import pytest

import fallbacks
import fallbacks.testing
from fallbacks import SYSTEM_CLOCK, AsyncTier, Clock, SyncTier
from fallbacks.testing import FakeClock, FaultyAsyncTier, FaultyTier
from fallbacks.tier import is_async

pytestmark = pytest.mark.unit

PACKAGES = [fallbacks, fallbacks.testing]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_is_there_once_and_sorted(package: object) -> None:
    """
    What a package exports exists, in the order that the linter keeps.
    """
    names = package.__all__  # type: ignore[attr-defined]

    assert [] == [name for name in names if not hasattr(package, name)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_class_has_one_home(package: object) -> None:
    """
    A name exported here is defined in one module of this package, and explained there.
    """
    for name in package.__all__:  # type: ignore[attr-defined]
        found = getattr(package, name)
        if isinstance(found, type):
            home = import_module(found.__module__)

            assert found.__module__.startswith("fallbacks.")
            assert found is getattr(home, name)
            assert found.__doc__


def test_package_imports_neither_hydra_nor_anything_costly() -> None:
    """
    The library stands by itself, and its import is cheap; a loop's driver comes on demand.
    """
    script = (
        "import sys, fallbacks; bad = {'hydra', 'asyncio', 'anyio', 'trio', 'logging', "
        "'concurrent.futures', 'random'} & set(sys.modules); print(sorted(bad))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{sysconfig.get_path('platlib')}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ("[]\n", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_tiers_are_told_apart_by_how_they_close() -> None:
    """
    An async tier has `aclose`, a sync one `close`; each is what its Protocol says.
    """
    sync, other = FaultyTier(), FaultyAsyncTier()

    assert (False, True) == (is_async(sync), is_async(other))
    assert (True, False) == (isinstance(sync, SyncTier), isinstance(other, SyncTier))
    assert (True, False) == (isinstance(other, AsyncTier), isinstance(sync, AsyncTier))


@pytest.mark.parametrize("clock", [SYSTEM_CLOCK, FakeClock()])
def test_clocks_do_not_go_back(clock: Clock) -> None:
    """
    Monotonic time goes on, and wall time counts nanoseconds since the epoch.
    """
    first = clock.monotonic()

    assert first <= clock.monotonic()
    assert abs(clock.time_ns() - time.time_ns()) < 10**9 * 3600 * 24 * 366 * 20
