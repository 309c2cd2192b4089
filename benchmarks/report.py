"""
The page of figures, made from the JSON of a run and from nothing else.

    python -m benchmarks.report        write docs/benchmarks.md again from docs/benchmarks.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from .environment import ROOT
from .peers import BASELINE, HYDRA
from .plots import bars, lines, short
from .stats import PERCENTILES

DOCS: Final = ROOT / "docs"
DATA: Final = DOCS / "benchmarks.json"
PAGE: Final = DOCS / "benchmarks.md"
PICTURES: Final = DOCS / "benchmarks"

_HEAD: Final = """\
# Figures

Written by `make bench`, with [the numbers as JSON](benchmarks.json); nothing here was typed in.
[How it is measured, and how to do it again](how-to/benchmarks.md).
"""


def publish(summary: dict[str, Any]) -> None:
    """Write JSON, page and pictures."""
    DATA.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    write()


def write() -> None:
    """Write page and pictures from the JSON that is there."""
    summary = json.loads(DATA.read_text(encoding="utf-8"))
    PAGE.write_text(page(summary), encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for name, picture in pictures(summary).items():
        (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")


def page(summary: dict[str, Any]) -> str:
    """Return docs/benchmarks.md."""
    return "\n".join([_HEAD, *_run(summary), tables(summary, drawn=True)])


def tables(summary: dict[str, Any], *, drawn: bool = False) -> str:
    """Return a section for each figure, with links to the pictures where they are *drawn*."""
    names = pictures(summary)
    parts = []
    for name, figure in summary["figures"].items():
        parts += [f"## {figure['title']}\n", f"{figure['note']}\n"]
        if drawn:
            parts += [
                f"![{picture}](benchmarks/{picture}.svg)\n"
                for picture in names
                if picture.partition("-")[0] == name
            ]
        for case, metrics in figure["cases"].items():
            parts += [f"### {figure['title']}: {case}\n", *_table(metrics), ""]
    return "\n".join(parts)


def _run(summary: dict[str, Any]) -> Iterator[str]:
    run, machine = summary["run"], summary["run"]["machine"]
    yield (
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['system']}, Python {run['python']}, load {machine['load']} at the start; "
        f"rounds: {run['rounds']}, minutes: {run['minutes']}. Each number is the median of the "
        "rounds, with the lowest and highest in brackets; one without ran once and was too far "
        "behind to decide a ratio. Below it stand its ratio to the floor "
        f"(`{BASELINE}`: `orjson.dumps` and a buffered write, which is no logger) and to the best "
        "peer, which has a star. A row that was refused lost, doubled or tore a record, or never "
        "ended.\n"
    )
    yield "| library | version | fields | writes later | awaited | set up as in |"
    yield "|---|---|---|---|---|---|"
    for name, said in summary["libraries"].items():
        if "absent" in said:
            yield f"| {name} | not here: {cell(said['absent'])} | | | | |"
            continue
        kinds = (said[kind] for kind in ("structured", "queued", "awaited"))
        marks = " | ".join("yes" if kind else "no" for kind in kinds)
        yield f"| {name} | {said['version']} | {marks} | {link(said['page'])} |"
    yield ""


def _table(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield the table of a case: a library in each row, a metric in each column."""
    shown = list(metrics.values())
    first = shown[0]
    heads = [f"{m['title']}{', ' + m['unit'] if m['unit'] else ''}" for m in shown]
    yield f"| library | {' | '.join(heads)} |"
    yield f"|---|{'---:|' * len(heads)}"
    for library in _order(first):
        rows = [metric["rows"][library] for metric in shown]
        why = rows[0].get("refused") or rows[0].get("unsupported")
        if why:
            word = "refused: " if "refused" in rows[0] else ""
            yield f"| {library} | {word}{cell(why)} |{' |' * (len(heads) - 1)}"
            continue
        name = f"**{library}**" if library == HYDRA else library
        yield f"| {name} | {' | '.join(_number(row) for row in rows)} |"


def _order(metric: dict[str, Any]) -> list[str]:
    """Return the libraries, the best first and those without a number last."""
    sign = -1 if metric["more"] else 1
    rows = metric["rows"]
    return sorted(rows, key=lambda n: ("median" not in rows[n], sign * rows[n].get("median", 0)))


def _number(row: dict[str, Any]) -> str:
    if "median" not in row:
        return ""
    text = short(row["median"])
    if row["rounds"] > 1:
        text += f" ({short(row['low'])} to {short(row['high'])})"
    if row["best"]:
        text += " *"
    ratios = ", ".join(
        f"{short(value)} x {what}"
        for what, value in (("floor", row["to_floor"]), ("best", row["to_best"]))
        if value is not None
    )
    return f"{text}<br>{ratios}" if ratios else text


def link(where: str) -> str:
    """Return a link to the page that a library is set up as in, or the name of its file."""
    return f"[its documentation]({where})" if where.startswith("http") else f"`{where}`"


def cell(text: str) -> str:
    """Return *text* as it can stand in a cell of a table."""
    return text.replace("|", "/").replace("\n", " ").replace("<", "(").replace(">", ")")


# -- pictures


def pictures(summary: dict[str, Any]) -> dict[str, str]:
    """Return the pictures by their names, each beginning with the name of its figure."""
    found = summary["figures"]
    drawn = {}
    if "throughput" in found:
        cases = found["throughput"]["cases"]
        for case in ("plain", "awaited"):
            if case in cases:
                drawn[f"throughput-{case}"] = bars(
                    f"Delivered records a second, {case}", "", _medians(cases[case], "rate"), HYDRA
                )
        drawn["throughput-threads"] = _scaling(
            "Delivered records a second by threads",
            {n: cases[c] for n, c in _THREADS.items() if c in cases},
        )
    for case, metrics in found.get("latency", {}).get("cases", {}).items():
        at = {p: _medians(metrics, p) for p in PERCENTILES}
        whole = [n for n in at["p50"] if all(n in values for values in at.values())]
        drawn[f"latency-{case.replace(',', '').replace(' ', '-')}"] = lines(
            f"Latency of an INFO call, {case}",
            "us",
            list(PERCENTILES),
            {name: [at[p][name] for p in PERCENTILES] for name in whole},
            HYDRA,
        )
    for name, title in (("destinations", "Records a second by files"), ("sizes", "MB a second")):
        if name in found:
            drawn[name] = _scaling(title, found[name]["cases"])
    return drawn


_THREADS: Final = {"1": "plain", "4": "4 threads", "8": "8 threads"}


def _scaling(title: str, cases: dict[str, Any]) -> str:
    at = [_medians(metrics, "rate") for metrics in cases.values()]
    whole = [n for n in at[0] if all(n in values for values in at)] if at else []
    return lines(title, "", list(cases), {n: [v[n] for v in at] for n in whole}, HYDRA)


def _medians(metrics: dict[str, Any], metric: str) -> dict[str, float]:
    rows = metrics.get(metric, {"rows": {}})["rows"]
    return {name: row["median"] for name, row in rows.items() if "median" in row}


if __name__ == "__main__":
    write()
