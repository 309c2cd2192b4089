"""
Importing hydra: cheap, quiet, and refused in one sentence where it cannot work.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import hydra

pytestmark = pytest.mark.e2e

HEAVY = ("aiofiles", "anyio", "asyncio", "concurrent.futures", "logging", "trio", "uvloop")


def test_import_starts_nothing(place):
    """No thread, no descriptor, no file, no signal handler, no heavy module."""
    script = f"""
        import os, signal, sys
        before = (os.listdir("/proc/self/task"), os.listdir("/proc/self/fd"))
        handlers = [signal.getsignal(n) for n in signal.valid_signals()]
        import hydra
        log = hydra.get_logger("shop", service="api").bind(a=1)
        after = (os.listdir("/proc/self/task"), os.listdir("/proc/self/fd"))
        assert before == after, (before, after)
        assert handlers == [signal.getsignal(n) for n in signal.valid_signals()]
        print(sorted(set({HEAVY!r}) & set(sys.modules)))
    """
    said = place.run(script)

    assert ("[]\n", "") == said
    assert [] == place.files()


def test_script_never_pays_for_an_event_loop(place):
    """A script that logs into a file to its end imports no event loop."""
    script = f"""
        import hydra, sys
        hydra.configure(destinations=["app.log", "stderr"])
        hydra.info("hello")
        hydra.error("world")
        hydra.close()
        print(sorted(set({HEAVY!r}) & set(sys.modules)))
    """
    out, _ = place.run(script)

    assert "[]\n" == out
    assert 2 == len(place.records("app.log"))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="3.14 has another module for it")
def test_subinterpreter(place):
    """In a subinterpreter the import fails and says why; the main one is not disturbed."""
    script = """
        import os, sys
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        before = "import hydra; hydra.info('main')"
        exec(before)
        inside = (
            "try:\\n    import hydra\\n"
            "except ImportError as error:\\n    import os; os.write(1, str(error).encode())\\n"
        )
        number = interpreters.create()
        if hasattr(interpreters, "exec"):
            interpreters.exec(number, inside)
        else:
            interpreters.run_string(number, inside)
        interpreters.destroy(number)
        exec(before)
    """
    out, err = place.run(script)

    assert out.startswith("hydra cannot run in a subinterpreter")
    assert 2 == err.count('"message":"main"')


def test_mixed_installation(place):
    """With files of the other distribution in its package, hydra names both and the way out."""
    package = place.directory / "site" / "hydra"
    package.mkdir(parents=True)
    for path in Path(hydra.__file__).parent.iterdir():
        (package / path.name).symlink_to(path)
    (package / "_internal").mkdir()
    place.extra["PYTHONPATH"] = os.pathsep.join(
        [str(package.parent), place.environment["PYTHONPATH"]]
    )
    _, err = place.run("import hydra", status=1)
    said = err.splitlines()[-1]

    assert said.startswith("ImportError: the distributions hydra-log and hydra-core are both")
    assert str(package) in said
    assert "pip uninstall" in said
