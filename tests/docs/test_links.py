"""Links of the documentation lead where they say."""

import re
from pathlib import Path

LINE_LINK = re.compile(r"\[`(\w+)`\]\((\.\./[^)#]+\.py)#L(\d+)\)")


def test_every_line_link_of_the_trial_leads_to_its_definition(repo: Path) -> None:
    page = repo / "docs" / "trial.md"
    links = LINE_LINK.findall(page.read_text())
    assert len(links) > 10
    wrong = []
    for name, target, line in links:
        lines = (page.parent / target).read_text().splitlines()
        if not re.match(rf"\s*(def|class) {name}\b", lines[int(line) - 1]):
            right = [
                i for i, text in enumerate(lines, 1) if re.match(rf"\s*(def|class) {name}\b", text)
            ]
            wrong.append(f"{name}: {target}#L{line} should be one of {right}")
    assert wrong == []
