"""
Look for bytes that break what reads untrusted files: journals, held segments, dead letters,
log files, archives and configurations.

    fuzz.py [--seconds 600] [TARGET ...]     fuzz these targets; without names, all
    fuzz.py --again FILE ...                 try what was found once more

The time is shared between the targets. What reached a new branch stays in .fuzz/corpus and
is where the next run goes on; what broke something is in .fuzz/found, under the name of its
target. The exit status is 1 when something was found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
KEPT: Final = ROOT / ".fuzz"

sys.path.insert(0, str(ROOT))

from tests.faults._untrusted import TARGETS  # noqa: E402 - needs the path above.

# A target that holds a check longer than this, in seconds, or takes more than this, in MiB, is
# a find like a failed check.
PATIENCE: Final = 60
MEMORY: Final = 2048
LONGEST: Final = 64 * 1024


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz the target *name* for *seconds*; return whether nothing was found."""
    corpus, found = KEPT / "corpus" / name, KEPT / "found"
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    ended = subprocess.run(
        [
            sys.executable, "-m", "tests.faults._fuzz", name,
            f"-max_total_time={seconds}", f"-timeout={PATIENCE}", f"-rss_limit_mb={MEMORY}",
            f"-max_len={LONGEST}", f"-artifact_prefix={found}/{name}-", "-print_final_stats=1",
            str(corpus),
        ],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=os.environ | {"TMPDIR": _memory()},
        check=False,
    )  # fmt: skip
    tried = re.findall(r"number_of_executed_units: +(\d+)", ended.stdout)
    reached = re.findall(r"cov: (\d+)", ended.stdout)
    counts = f"{int((tried or ['0'])[-1]):9,} inputs {int((reached or ['0'])[-1]):6,} branches"
    what = "nothing found" if not ended.returncode else "FOUND"
    if ended.returncode and "Test unit written" not in ended.stdout:
        what = "did not run"
    print(f"{name:14} {counts}  {what}", flush=True)
    if ended.returncode:
        said = [line for line in ended.stdout.splitlines() if not re.match(r"#\d|INFO", line)]
        print("\n".join(said[-60:]))
    return not ended.returncode


def again(path: Path) -> bool:
    """Hand the bytes in *path* to the target it is named after; return whether they pass."""
    name = path.name.partition("-")[0]
    try:
        TARGETS[name].check(path.read_bytes())
    except Exception:
        traceback.print_exc()
        return False
    print(f"{path}: passed")
    return True


def main() -> int:
    """Run what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="fuzz.py", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--again", action="store_true", help="try files of .fuzz/found once more")
    parser.add_argument("names", nargs="*", metavar="TARGET|FILE", help=", ".join(TARGETS))
    asked = parser.parse_args()
    if asked.again:
        results = [again(Path(name)) for name in asked.names]
        return 0 if all(results) else 1
    unknown = [name for name in asked.names if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    names = asked.names or list(TARGETS)
    share = max(1, asked.seconds // len(names))
    results = [fuzz(name, share) for name in names]
    if not all(results):
        print("try one again: make fuzz FUZZ_ARGS='--again .fuzz/found/...'; mend it, and keep")
        print("its essence as a test in tests/faults/test_untrusted.py")
    return 0 if all(results) else 1


def _memory() -> str:
    """Return a directory that costs no disk, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else os.environ.get("TMPDIR", "/tmp")


if __name__ == "__main__":
    raise SystemExit(main())
