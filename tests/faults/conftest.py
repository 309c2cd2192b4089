"""
What the tests of faults need of the machine; where it is not to be had, they say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

STYLES = ("plain", "asyncio")


@pytest.fixture(params=STYLES)
def style(request):
    """Run a program twice: calls left alone, and awaited on a loop."""
    return request.param


@pytest.fixture(scope="session")
def strace():
    """Skip where system calls cannot be tampered with."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "-e", "inject=close:error=EIO:when=100", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode:
        pytest.skip(f"strace is not permitted here: {tried.stderr.strip()}")


@pytest.fixture
def long(request):
    """Whether the long variant was asked for, as `make faults` does."""
    return request.config.getoption("--long")


@pytest.fixture
def mount(tmp_path):
    """Give a function that mounts a small file system with the options it is given."""
    mounted = []

    def mount_with(options):
        place = tmp_path / f"small{len(mounted)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"no tmpfs of our own: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount_with
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def root():
    """Skip where what only root may do cannot be done."""
    if os.geteuid():
        pytest.skip("only root may do this")
