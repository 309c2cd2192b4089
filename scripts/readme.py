"""
Run the Python of the documentation and write down what it prints.

    scripts/readme.py                 rewrite every output in README.md and docs/
    scripts/readme.py --picture       play the demo, too, and put it into README.md
    scripts/readme.py --check         change nothing; fail when an output is out of date

Rule 1: the ```python blocks of a page are one program, run in order in an empty
directory. A block may use `await`; it is then run by an event loop of its own.
Rule 2: a comment in front of a fenced block says what stands in there:
`<!-- output -->` what the last Python block printed, `<!-- stderr -->` what it wrote
to standard error, `<!-- file: PATH -->` what is in a file now, `<!-- run: COMMAND -->`
what a command prints. `<!-- save: PATH -->` puts the block behind it into a file.
Rule 3: the numbers of README.md come from docs/benchmarks.json, which `make bench` writes;
which of them is decided here, and not by how they turned out.
Rule 4: outputs are compared with ids, times and places made equal (`alike`).
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
FIGURES: Final = ROOT / "docs" / "benchmarks.json"
PATIENCE: Final = 50.0
PLACE: Final = "/srv/shop"
"""What the directory of a page is called in its outputs."""

_BLOCK: Final = re.compile(
    r"^(?:<!-- (?P<kind>output|stderr|file|run|save)(?:: (?P<what>[^\n]+))? -->\n+)?"
    r"(?P<open>```(?P<language>\w*)\n)(?P<body>.*?)(?P<close>^```$)",
    re.DOTALL | re.MULTILINE,
)
_PICTURE: Final = re.compile(
    r"(<!-- picture: [^\n]+ -->\n```text\n).*?(^```\n<!-- end of picture -->)",
    re.DOTALL | re.MULTILINE,
)
_FIGURES: Final = re.compile(
    r"(<!-- figures: [^\n]+ -->\n).*?(^<!-- end of figures -->)", re.DOTALL | re.MULTILINE
)
_EQUAL: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"), "<time>"),
    (re.compile(r"\b[a-z0-9]{12}(?=\.\d+[rgc]-\d)"), "<run>"),
    (
        re.compile(r"^( +)[a-z0-9]{12}(?= +(?:complete|unclean|incomplete) )", re.MULTILINE),
        r"\1<run>",
    ),
    (re.compile(r'(?<="duration_seconds":)[\d.e-]+'), "<seconds>"),
    (re.compile(r"(?<=duration_seconds=)[\d.e-]+"), "<seconds>"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page; *kind* says what its comment says, `python` for code."""

    kind: str
    what: str
    body: str
    line: int
    start: int
    end: int


def pages() -> list[Path]:
    """Return every page that may have Python in it."""
    return [README, *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page that something is to be done about."""
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        kind = match["kind"] or ("python" if match["language"] == "python" else "")
        if kind:
            line = text.count("\n", 0, match.start("body")) + 1
            found.append(
                Block(
                    kind, match["what"] or "", match["body"], line, match.start("body"),
                    match.end("body"),
                )
            )  # fmt: skip
    return found


def alike(text: str) -> str:
    """Return *text* with everything made equal that differs from run to run."""
    for pattern, word in _EQUAL:
        text = pattern.sub(word, text)
    return text


def rendered(text: str, name: str) -> str:
    """
    Return a page with its outputs as they are now.

    An output that only differs in ids and times from the one in *text* is left as it is.

    Raises:
        RuntimeError: If a block fails; the message has the traceback.
    """
    wanted = blocks(text)
    outputs = iter(_run(wanted, name))
    parts: list[str] = []
    at = 0
    for block in wanted:
        if block.kind in {"python", "save"}:
            continue
        fresh = next(outputs)
        parts += [
            text[at : block.start],
            block.body if alike(fresh) == alike(block.body) else fresh,
        ]
        at = block.end
    return "".join([*parts, text[at:]])


def _run(wanted: list[Block], name: str) -> list[str]:
    """Run a page; return what belongs into its output blocks."""
    if not any(block.kind == "python" for block in wanted):
        return []
    directory = Path(tempfile.mkdtemp(prefix="hydra-docs-"))
    place = directory / "shop"
    place.mkdir()
    steps = [[block.kind, block.what, block.body, block.line] for block in wanted]
    try:
        ended = subprocess.run(
            [sys.executable, "-W", "error", str(Path(__file__).resolve()), "--run-page", name],
            input=json.dumps(steps),
            cwd=place,
            env=_environment(directory),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        shutil.rmtree(directory)
    if ended.returncode != 0:
        raise RuntimeError(f"{name}: {ended.stderr or ended.stdout}")
    outputs: list[str] = json.loads(ended.stdout)
    return [output.replace(str(place), PLACE) for output in outputs]


def _environment(directory: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k == "COVERAGE_PROCESS_START"}
    return kept | {
        "HOME": str(directory),
        "HYDRA_STATE_DIR": str(directory / "state"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
    }


# -- in the process of a page


def run_page(name: str) -> None:
    """Do the steps that come in on standard input; print the outputs as JSON."""
    steps: list[tuple[str, str, str, int]] = json.load(sys.stdin)
    # Under this name, so that what a page defines can be pickled and its
    # dataclasses find their module.
    names: dict[str, object] = {"__name__": "__main__"}
    real = os.dup(1)
    printed = {1: "", 2: ""}
    outputs: list[str] = []
    for kind, what, body, line in steps:
        match kind:
            case "python":
                printed = _printed(name, body, line, names)
            case "save":
                Path(what).parent.mkdir(parents=True, exist_ok=True)
                Path(what).write_text(body, encoding="utf-8")
            case "output":
                outputs.append(printed[1])
            case "stderr":
                outputs.append(printed[2])
            case "file":
                outputs.append(Path(what).read_text(encoding="utf-8"))
            case _:
                outputs.append(_shell(what))
    os.write(real, json.dumps(outputs).encode())


def _shell(command: str) -> str:
    """Return what a command of a page prints."""
    if command.startswith("hydra "):
        # The one under test, installed or not.
        command = f"{shlex.quote(sys.executable)} -m {command}"
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    return ended.stdout


def _printed(name: str, body: str, line: int, names: dict[str, object]) -> dict[int, str]:
    """Run one block; return what it wrote to standard output and standard error."""
    import ast
    import asyncio
    import inspect

    import hydra

    # Empty lines in front make line numbers in a traceback those of the page.
    code = compile("\n" * (line - 1) + body, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        saved = {number: os.dup(number) for number in (1, 2)}
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(code, names))  # noqa: S307 - the project's own pages.
            else:
                exec(code, names)  # noqa: S102 - the project's own pages.
            hydra.flush()
            sys.stdout.flush()
        finally:
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)
        return {number: _text(file.fileno()) for number, file in ((1, out), (2, err))}


def _text(fd: int) -> str:
    return os.pread(fd, 1 << 20, 0).decode()


# -- the picture

# Phases and events of the demo that say little, and how the lines of its result begin.
_QUIET: Final = ("healthy", "recovery")
_DULL: Final = ("service started", "stopped")
_RESULT: Final = ("verdict", "acknowledged", "ordinary", "missing")


def picture() -> str:
    """Play the demo; return the lines of its output that tell the story."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "outage.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return "".join(f"{line}\n" for line in _story(ended.stdout.splitlines()))


def _story(lines: list[str]) -> Iterator[str]:
    """Yield the events, what the table said in front of each in a bad phase, and the result."""
    audit = next(index for index, line in enumerate(lines) if line.startswith("$ hydra audit"))
    yield lines[0].partition("  tiers")[0]
    row = ""
    for line in lines[1 : audit - 1]:
        if "  * " in line:
            if row and "* fallback" not in line:
                yield row
            if not any(f"* {word}" in line for word in _DULL):
                yield line
            row = ""
        elif not any(f"  {phase}  " in line for phase in _QUIET):
            row = line.partition("  async_file")[0]
    yield ""
    yield lines[audit]
    yield from (line for line in lines[audit + 1 :] if line.startswith(_RESULT))


def with_picture(text: str, drawn: str) -> str:
    """Return the README with *drawn* as its picture."""
    return _PICTURE.sub(lambda found: f"{found[1]}{drawn}{found[2]}", text)


# -- the figures

# Figure, case, metric, and what the row is called.
_SHOWN: Final = (
    ("throughput", "plain", "rate", "records a second, one thread"),
    ("throughput", "awaited", "rate", "records a second, awaited on uvloop"),
    ("throughput", "4 threads", "rate", "records a second, four threads"),
    ("latency", "20,000 a second", "p99", "99 of 100 calls in a coroutine, \u00b5s"),
    ("latency", "sink hung", "max", "the slowest call while the sink hangs, \u00b5s"),
    ("errors", "a script", "ERROR p99", "99 of 100 ERROR calls, \u00b5s"),
    ("start", "a script", "first", "start to the first record on the disk, ms"),
)

_MORE: Final = (
    "every record was read back from its file. [All figures](docs/benchmarks.md), those of other "
    "libraries and those that hydra loses included, "
    "[and how to make them](docs/how-to/benchmarks.md).\n"
)


def figures(result: dict[str, Any] | None) -> str:
    """Return what README.md says about speed; *result* is None before a run was published."""
    if result is None:
        return (
            "Numbers are not printed here before a run on a quiet machine has made them; "
            "[`make bench`](docs/how-to/benchmarks.md) makes yours.\n"
        )
    machine = result["run"]["machine"]
    lines = ["| | hydra | best peer | |", "|---|---:|---:|---|"]
    for figure, case, metric, title in _SHOWN:
        rows = result["figures"][figure]["cases"][case][metric]["rows"]
        leader = next((name for name, row in rows.items() if row.get("best")), "")
        peer = _three(rows[leader]["median"]) if leader else "none"
        own = rows["hydra"]
        ours = _three(own["median"]) if "median" in own else f"refused: {own['refused']}"
        lines.append(f"| {title} | {ours} | {peer} | {leader} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; {_MORE}",
        ]
    )


def _three(value: float) -> str:
    """Return *value* with three figures."""
    return f"{float(f'{value:.3g}'):,.10g}"


def with_figures(text: str) -> str:
    """Return the README with the figures that are published."""
    result = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else None
    return _FIGURES.sub(lambda found: f"{found[1]}{figures(result)}{found[2]}", text)


def main(arguments: list[str]) -> int:
    """Bring the pages up to date, or say that they are not; return the exit status."""
    if arguments[:1] == ["--run-page"]:
        run_page(arguments[1])
        return 0
    status = 0
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = rendered(before, str(page.relative_to(ROOT)))
        if page == README:
            after = with_figures(after)
        if page == README and "--picture" in arguments:
            after = with_picture(after, picture())
        if before == after:
            continue
        if "--check" in arguments:
            name = str(page.relative_to(ROOT))
            print(
                *difflib.unified_diff(before.splitlines(), after.splitlines(), name, "now"),
                sep="\n",
            )
            status = 1
        else:
            page.write_text(after, encoding="utf-8")
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
