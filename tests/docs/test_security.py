"""The threat notes name files that are there, and tests that are run."""

import re
from pathlib import Path

LINK = re.compile(r"\[`?([^\]`]+)`?\]\(([^)#]+)\)")


def test_every_defence_and_every_test_of_the_notes_is_there(repo: Path) -> None:
    page = repo / "docs" / "security.md"
    links = LINK.findall(page.read_text())
    assert len(links) > 40
    assert [target for _, target in links if not (page.parent / target).is_file()] == []
    named = [(name, target) for name, target in links if target.endswith(".py")]
    assert [name for name, target in named if Path(target).name != name] == []
    assert all("def test_" in (page.parent / t).read_text() for n, t in named if n[:5] == "test_")


def test_every_table_of_the_notes_has_its_three_cells(repo: Path) -> None:
    rows = [
        line
        for line in (repo / "docs" / "security.md").read_text().splitlines()
        if line.startswith("|")
    ]
    assert len(rows) > 25
    assert [row for row in rows if row.count(" | ") != 2 and set(row) - set("|-")] == []
