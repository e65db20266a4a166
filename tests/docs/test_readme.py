"""What the README tells a reader to type works, and every link leads somewhere."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from merit_opt.cli.main import VERBS, run

REPO = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(-m [^`]+|merit-opt [^`]+)`")
HEADER = re.compile(r"^# .*?(merit-opt .+?)(?:  .*)?$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FOLDERS = ("docs", "experiments", "merit_opt", "conf", "docker", "tests")
PAGES = sorted([*REPO.glob("*.md"), *(p for name in FOLDERS for p in (REPO / name).rglob("*.md"))])
SMALLER = {
    "search": ["suite.clips=10", "study.trials=3", "tracking=none"],
    "evaluate": ["suite.clips=10"],
    "attribute": ["suite.clips=10", "tracking=none"],
    "check": ["suite.clips=10"],
}


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line of a page's bash blocks, continued lines joined, comments left out."""
    for block in FENCE.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


README = list(commands(REPO / "README.md"))
TYPED = [words[1:] for words in README if words[0] == "merit-opt"]


def shown(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader types one command after the other."""
    return tmp_path_factory.mktemp("reader")


def test_the_readme_shows_commands_that_these_tests_run():
    assert {words[0] for words in README} <= {"merit-opt", "make", "mlflow", "git", "cd"}
    assert {words[0] for words in TYPED} <= set(VERBS)
    assert len(TYPED) >= 3


@pytest.mark.parametrize("path", [*PAGES, *sorted((REPO / "conf").rglob("*.yaml"))], ids=shown)
def test_a_shell_reads_every_command(path):
    patterns = (HEADER,) if path.suffix == ".yaml" else (FENCE, INLINE)
    text = path.read_text()
    typed = "\n".join(found for pattern in patterns for found in pattern.findall(text))
    read = subprocess.run(["bash", "-n"], input=typed, text=True, capture_output=True, check=False)
    assert not read.stderr, f"{read.stderr}{typed}"


@pytest.mark.parametrize("words", TYPED, ids=" ".join)
def test_a_command_of_the_readme_runs(words, reader, quick_commands, monkeypatch):
    monkeypatch.chdir(reader)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert run([*words, *SMALLER.get(words[0], [])]) == 0


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_a_make_target_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    typed = {
        w for words in commands(page) if words[0] == "make" for w in words[1:] if "=" not in w
    }
    named = set(re.findall(r"`make (\w+)`", page.read_text()))
    assert typed | named <= targets


def one_job(words: list[str]) -> list[str]:
    """A sweep's first job."""
    if "-m" not in words:
        return words
    first = {w: re.sub(r"=(?:range\((\d+).*\)|([^,\[(]+),.*)$", r"=\1\2", w) for w in words}
    return [first[w] for w in words if w != "-m"]


@pytest.mark.parametrize("page", [p for p in PAGES if p != REPO / "README.md"], ids=shown)
def test_a_command_of_any_page_composes(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    for words in commands(page):
        if words[0] == "merit-opt" and len(words) > 1 and not words[1].startswith("-"):
            assert run([*one_job(words[1:]), "--cfg", "job"]) == 0, (
                words,
                capsys.readouterr().err,
            )


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_a_link_leads_somewhere(page):
    broken = []
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target) if target else page
        if not path.exists():
            broken.append(link)
        elif anchor and path.suffix == ".md":
            slugs = {slug(heading) for heading in HEADING.findall(path.read_text())}
            broken += [link] if anchor not in slugs else []
        elif match := re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor):
            last = int(match[2] or match[1])
            broken += [link] if last > len(path.read_text().splitlines()) else []
    assert broken == []


def test_every_page_is_seen_here():
    assert {shown(p) for p in PAGES} >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
