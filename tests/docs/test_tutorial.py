"""The tutorial runs from top to bottom, and ends as it says."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from merit_opt.cli.main import run

RUN = re.compile(r"^```(\w+) run\n(.*?)^```(?:\s+```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, content, and what the page shows beneath, of every block that claims to run."""
    return RUN.findall(page.read_text())


def test_every_block_that_claims_to_run_is_in_a_language_that_is_run(repo: Path):
    marked = {
        page.name: languages
        for page in (repo / "docs").rglob("*.md")
        if (languages := re.findall(r"^```(\w+) run\b", page.read_text(), re.MULTILINE))
    }
    assert set(marked) == {"tutorial.md"}
    found = [language for language, _, _ in blocks(repo / "docs" / "tutorial.md")]
    assert found == marked["tutorial.md"]
    assert set(found) == {"bash", "python"}


def type_in(block: str) -> None:
    """Every command line of a block, as in a shell."""
    for line in block.replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "merit-opt"
        assert run(words) == 0, line


@pytest.fixture
def told(repo, tmp_path, quick_commands, monkeypatch, capsys) -> dict[str, str]:
    """What each block of the tutorial printed, run in one empty folder; by its first words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("COLUMNS", "100")
    printed = {}
    for language, block, shown in blocks(repo / "docs" / "tutorial.md"):
        capsys.readouterr()
        if language == "python":
            exec(compile(block, "tutorial.md", "exec"), {})
            printed[language] = capsys.readouterr().out
            assert printed[language] == shown
        else:
            type_in(block)
            printed[" ".join(block.split()[1:3])] = capsys.readouterr().out
    return printed


@pytest.mark.timeout(900)
def test_the_tutorial_ends_as_it_says(told):
    result = json.loads(Path("outputs/studies/first/result.json").read_text())
    assert {"3", "5"} <= set(result["best"]["layers"])
    assert result["confirm"]["difference"]["TR"]["low"] > 0.2
    assert result["confirm"]["difference"]["TP"]["low"] >= 0.0
    assert "all is well" in told["check suite.clips=40"]
    assert "suffices" not in told["search study.name=first"]
    new, exported = told["evaluate recipe=study:first"], told["evaluate recipe=base"]
    (merged,) = re.findall(r"TR +│ +[\d.]+ │ +([\d.]+) │", new)
    assert re.findall(r"TR +│ +([\d.]+) │", exported) == [merged]
    page = Path("outputs/studies/first/report/report.html").read_text()
    assert "leave_out" in page
