"""What no file of the repository may be or say."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MACHINE_PATH = re.compile(r"(^|[^\w.~])/(home|Users|root|work|farm|mnt|scratch)/", re.MULTILINE)
INDEX_ADDRESS = re.compile(r"index[-_]url[ =]+\S*:/|find[-_]links[ =]|https?://\S+/simple\b")
PIN = re.compile(r"[a-z0-9][a-z0-9._-]*==[^\s;]+( ; \S.*)?")
MAX_LINES = 400


@pytest.fixture(scope="module")
def tracked(repo: Path) -> list[Path]:
    """Every file that is in the repository, or would be after `git add`."""
    if not (repo / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    paths = (repo / name for name in done.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def texts(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        content = path.read_bytes()
        if b"\0" not in content:
            yield path, content.decode()


def test_no_module_is_too_long(tracked: list[Path]) -> None:
    lines = {path: len(path.read_text().splitlines()) for path in tracked if path.suffix == ".py"}
    assert {path: n for path, n in lines.items() if n > MAX_LINES} == {}


def test_every_module_has_a_noun(repo: Path, tracked: list[Path]) -> None:
    nameless = {"utils", "util", "helpers", "common", "misc"}
    names = {path: {*path.relative_to(repo).parts[:-1], path.stem} for path in tracked}
    assert [path for path, parts in names.items() if parts & nameless] == []


@pytest.mark.parametrize("pattern", [MACHINE_PATH, INDEX_ADDRESS], ids=["path", "index"])
def test_no_file_names_one_machine(tracked: list[Path], pattern: re.Pattern[str]) -> None:
    found = [(path, m.group()) for path, text in texts(tracked) for m in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (MACHINE_PATH, "see {}home/me/x"),
        (MACHINE_PATH, "{}work/x"),
        (INDEX_ADDRESS, "pip install --index{}url https:{}{}host{}simple x"),
        (INDEX_ADDRESS, "https:{}{}host{}simple{}"),
    ],
)
def test_the_patterns_find_what_they_forbid(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text.replace("index{}", "index-").replace("{}", "/"))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements.lowest.lock"])
def test_a_lock_is_a_plain_constraints_file(repo: Path, name: str) -> None:
    lines = (repo / name).read_text().splitlines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []
