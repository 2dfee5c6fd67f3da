"""The pages of docs/: the README lists them, and their links resolve."""

import re
from pathlib import Path

import pytest
from jinja2 import Environment

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_readme_lists_every_page():
    listed = re.findall(r"^- \[docs/(.+)\]\(docs/\1\): ", PAGES[0].read_text(), re.MULTILINE)
    assert sorted(listed) == [page.name for page in PAGES[1:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_in_the_docs_resolves(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_mails_of_the_examples_show_text_of_exceptions_as_text():
    """Rendered as Airflow renders a notifier's templates: without autoescape."""
    templates = [text for page in PAGES for text in re.findall(r'html_content="([^"]+)"', page.read_text())]
    changes = [{"job": "counts", "old": "healthy", "new": "failed", "reasons": ["<img src=x onerror=alert(1)> it's"]}]
    shown = [Environment(autoescape=False).from_string(text).render(changes=changes) for text in templates]
    assert len(shown) == 2
    for text in shown:
        assert "onerror" in text
        assert "<" not in text


def test_every_path_of_the_structure_page_exists():
    page = (ROOT / "docs" / "structure.md").read_text()
    table = re.findall(r"`([a-z_/]+(?:\.py|/[a-z_]*))`", page[page.index("## To change X") : page.index("## Folders")])
    figure = re.findall(r"[a-z_]+/[a-z_]+\.py", page[: page.index("## To change X")])
    product = [ROOT / "include" / "sluice" / path for path in (*table, *figure) if path != "include/sluice/"]
    folders = re.findall(r"^ {6}([a-z_]+(?:/|\.py)) ", page[page.index("## Folders") :], re.MULTILINE)
    product += [ROOT / "include" / "sluice" / folder for folder in folders]
    assert len(product) > 60
    assert [str(path) for path in product if not path.exists()] == []
