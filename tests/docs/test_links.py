from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
PATH = re.compile(
    r"`((?:hydra|fallbacks|tests|scripts|docs|examples|benchmarks)/[\w/.-]*\w(?:/|\.\w+)?)`"
)
TEST = re.compile(r"`(test_\w+)`")


def _links(page: Path) -> list[tuple[str, str]]:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [(match["text"], match["target"]) for match in LINK.finditer(prose)]


def _anchors(page: Path) -> set[str]:
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def _broken(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return False
    path, _, anchor = target.partition("#")
    file = page if not path else (page.parent / path).resolve()
    if not file.exists() or not file.is_relative_to(ROOT):
        return True
    return bool(anchor) and file.suffix == ".md" and anchor not in _anchors(file)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_relative_links_lead_somewhere(page: Path) -> None:
    """
    Each relative link names a file of the repository, and a heading that is in it.
    """
    assert [] == [target for _, target in _links(page) if _broken(page, target)]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_named_tests_exist(page: Path) -> None:
    """
    A test that a link names by its function is in the file that the link leads to.
    """
    missing = [
        (name, target)
        for text, target in _links(page)
        for name in TEST.findall(text)
        if f"def {name}(" not in (page.parent / target).read_text(encoding="utf-8")
    ]

    assert [] == missing


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_files_named_in_the_text_exist(page: Path) -> None:
    """
    A path of the repository that the text names in backticks is there.
    """
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))

    assert [] == [path for path in PATH.findall(prose) if not (ROOT / path).exists()]


def test_every_page_can_be_reached() -> None:
    """
    From the README, following links, one gets to every page of the documentation.
    """
    reached: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        for _, target in _links(page):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file.exists():
                todo.append(file)

    assert [] == [
        str(page.relative_to(ROOT))
        for page in PAGES
        if "docs" in page.parts and page not in reached
    ]


@pytest.mark.parametrize("target", ["no-such-file.md", "#no-such-heading", "../README.md"])
def test_broken_link_is_found(target: str) -> None:
    """
    A file or heading that is not there, and a file outside the repository, are broken links.
    """
    assert _broken(ROOT / "CONTRIBUTING.md", target)
