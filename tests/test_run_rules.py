from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent


def _run_pytest(directory: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run *code* as a test file of its own under this project's rules."""
    (directory / "test_inner.py").write_text("import pytest, threading\n" + code)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest"),
            *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory)),
            str(directory / "test_inner.py"),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


UNIT = "@pytest.mark.unit\n"
LEAKING = "threading.Thread(target=threading.Event().wait, name='left', daemon=True).start()"


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        pytest.param(
            f"{UNIT}def test_leak():\n    {LEAKING}\n",
            1,
            "thread 'left' is still running",
            id="leak",
        ),
        pytest.param(
            f"{UNIT}@pytest.mark.leaks_ok('on purpose')\ndef test_leak():\n    {LEAKING}\n",
            0,
            "test_inner.py::test_leak: on purpose",
            id="exempt with a reason",
        ),
        pytest.param(
            UNIT + "@pytest.mark.leaks_ok\ndef test_leak():\n    pass\n",
            1,
            "leaks_ok needs a reason",
            id="exempt without a reason",
        ),
        pytest.param(
            "def test_plain():\n    pass\n",
            4,
            "each test needs exactly one marker",
            id="no marker",
        ),
        pytest.param(
            UNIT + "@pytest.mark.skip(reason='no strace')\ndef test_off():\n    pass\n",
            0,
            "skipped tests: 1",
            id="skips are counted",
        ),
        pytest.param("", 5, "no tests ran", id="nothing collected"),
    ],
)
def test_rules_of_the_run(tmp_path: Path, code: str, status: int, said: str) -> None:
    """
    The run fails on a leak, a missing reason, a missing marker, and on no test at all.
    """
    result = _run_pytest(tmp_path, code)

    assert status == result.returncode, result.stdout + result.stderr
    assert said in result.stdout + result.stderr
