from __future__ import annotations

from pathlib import Path

import pytest

from scripts import readme as script

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


RUNNABLE = [
    page
    for page in script.pages()
    if any(block.kind == "python" for block in script.blocks(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("page", RUNNABLE, ids=[str(page.relative_to(ROOT)) for page in RUNNABLE])
def test_python_of_a_page_prints_what_the_page_shows(page: Path) -> None:
    """
    The Python of each page runs, and every output on it is the real one.
    """
    text = page.read_text(encoding="utf-8")

    assert text == script.rendered(text, str(page.relative_to(ROOT))), "run scripts/readme.py"


def test_block_that_fails_is_named() -> None:
    """
    A snippet that raises fails its page with the line of the page in the traceback.
    """
    with pytest.raises(RuntimeError, match=r'File "page.md", line 4'):
        script.rendered("# Page\n\n```python\n1 / 0\n```\n", "page.md")


def test_output_that_differs_is_replaced() -> None:
    """
    An output that is not the real one is rewritten, whatever kind of output it is.
    """
    page = (
        "```python\nimport sys\nprint(__import__('pathlib').Path('in.txt').read_text(), end='')\n"
        "print('bad', file=sys.stderr)\nawait __import__('asyncio').sleep(0)\n```\n"
        "<!-- output -->\n```text\nx\n```\n<!-- stderr -->\n```text\nx\n```\n"
        "<!-- file: in.txt -->\n```text\nx\n```\n<!-- run: echo hi -->\n```text\nx\n```\n"
    )
    saved = "<!-- save: in.txt -->\n```text\nhello\n```\n"
    expected = page
    for word in ("hello", "bad", "hello", "hi"):
        expected = expected.replace("```text\nx\n", f"```text\n{word}\n", 1)

    assert saved + expected == script.rendered(saved + page, "page.md")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"id":"k3f9x2ab71qz.1r-17"', '"id":"it1h3c13159p.1r-17"'),
        ("2026-11-21T01:44:00.123456Z", "2027-01-02T03:04:05.000000Z"),
        ("2026-11-21 01:44:00.123 INFO", "2027-01-02 03:04:05.000 INFO"),
        ("  k3f9x2ab71qz  complete  3", "  it1h3c13159p  complete  3"),
        ('"duration_seconds":0.003', '"duration_seconds":1.5e-05'),
    ],
)
def test_what_differs_from_run_to_run_is_alike(one: str, other: str) -> None:
    """
    Ids, times and durations may differ between an output and the page that shows it.
    """
    assert script.alike(one) == script.alike(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"id":"k3f9x2ab71qz.1r-17"', '"id":"k3f9x2ab71qz.1r-18"'),
        ('"id":"k3f9x2ab71qz.1r-17"', '"id":"k3f9x2ab71qz.1g-17"'),
        ("a notification", "a registration"),
    ],
)
def test_what_counts_is_not_alike(one: str, other: str) -> None:
    """
    Numbers, streams and words are compared as they are.
    """
    assert script.alike(one) != script.alike(other)


def test_picture_is_the_story_of_the_demo() -> None:
    """
    The picture in the README ends as the demo promises.
    """
    text = script.README.read_text(encoding="utf-8")
    lines = text.partition("<!-- picture: ")[2].partition("<!-- end of picture -->")[0].splitlines()

    assert "missing 0" == lines[-2]
    assert [] == [line for line in lines if "FAILED" in line]
    assert text == script.with_picture(text, "".join(f"{line}\n" for line in lines[2:-1]))
