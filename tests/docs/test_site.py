"""The site: what it shows beside docs/, and where its links lead.

`make docs` builds it strictly; these are the rules by which pages become pages of the site.
"""

import importlib.util
import re
from html import unescape
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
API = sorted((REPO / "docs" / "api").glob("*.md"))
LAYERS = {"recipe", "merging", "data", "models", "evaluation", "tracking"}
LAYERS |= {"search", "attribution", "reporting"}


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", REPO / "docs" / "site" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("README.md", "README.md"),
        ("docs/trial.md", "trial.md"),
        ("docs/best_recipe.png", "best_recipe.png"),
        ("docs/decisions", "decisions/README.md"),
        ("experiments/0003-trial-speed", "experiments/0003-trial-speed/README.md"),
        ("merit_opt/errors.py", "source/merit_opt/errors.py.md"),
        ("LICENSE", "source/LICENSE.md"),
    ],
)
def test_where_a_file_or_folder_stands_in_the_site(site, path, address):
    assert site.shown(REPO / path).address == address


@pytest.mark.parametrize("path", ["docs/nothing.md", "../elsewhere.md", "tests/golden"])
def test_what_is_not_there_is_not_shown(site, path):
    assert site.shown((REPO / path).resolve()) is None


@pytest.mark.parametrize(
    ("address", "link", "becomes"),
    [
        ("README.md", "docs/trial.md", "trial.md"),
        ("trial.md", "../README.md#read-on", "README.md#read-on"),
        ("trial.md", "../merit_opt/errors.py#L24", "source/merit_opt/errors.py.md#L24"),
        ("trial.md", "../LICENSE#L2-L9", "source/LICENSE.md#L2"),
        ("extend/rule.md", "../../experiments", "../experiments/README.md"),
        ("trial.md", "nothing.md", "nothing.md"),
        ("trial.md", "https://example.org/docs/trial.md", "https://example.org/docs/trial.md"),
    ],
)
def test_a_link_of_the_repository_becomes_one_of_the_site(site, address, link, becomes):
    path = REPO / address if address == "README.md" else REPO / "docs" / address
    assert (
        site.relinked(f"see [it]({link}).", site.Shown(path, address)) == f"see [it]({becomes})."
    )


def test_code_is_left_alone_but_for_its_mark(site):
    page = site.Shown(REPO / "README.md", "README.md")
    text = "```bash run\ncat [it](docs/trial.md)\n```\n"
    assert site.relinked(text, page) == text.replace(" run", "")


def test_a_file_is_shown_line_by_line_with_the_anchors_of_a_forge(site):
    text = site.listing(REPO / "merit_opt" / "errors.py")
    lines = (REPO / "merit_opt" / "errors.py").read_text().splitlines()
    shown = re.findall(r'<a class="line" id="L(\d+)" href="#L\1">\1</a>(.*)', text)
    assert [(int(i), unescape(re.sub(r"<[^>]+>", "", line))) for i, line in shown] == list(
        enumerate(lines, 1)
    )


def test_a_folder_lists_its_pages_and_nothing_else_that_lies_there(site, tmp_path):
    for name in ("b.md", "a.md"):
        (tmp_path / name).write_text(f"# About {name}\n")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "core").write_bytes(b"\xff\x00")
    head, *lines = site.contents(tmp_path).split("\n")
    assert head == f"# {tmp_path.name.capitalize()}"
    assert [line for line in lines if line] == ["* [About a.md](a.md)", "* [About b.md](b.md)"]


def test_a_file_that_is_no_text_is_shown_by_its_size(site, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "REPO", tmp_path)
    (tmp_path / "some.bin").write_bytes(b"\xff\x00" * 700)
    assert site.listing(tmp_path / "some.bin").endswith(
        "# `some.bin`\n\n1,400 bytes that are no text.\n"
    )


def test_all_that_is_linked_is_reached_and_a_folder_lists_its_pages(site):
    found = site.reached([site.Shown(REPO / "README.md", "README.md")])
    assert {"CONTRIBUTING.md", "decisions/README.md", "trial.md"} <= set(found)
    assert "source/merit_opt/search/worker.py.md" in found
    pages = {p.name for p in (REPO / "docs" / "decisions").glob("*.md")}
    assert pages == set(re.findall(r"\]\((.+)\)", site.contents(REPO / "docs" / "decisions")))


def names() -> list[str]:
    """Every name that the reference takes from the code."""
    found = []
    for page in API:
        for name, members in re.findall(
            r"^::: (\S+)(?:\n    options:\n      members: \[(.*)\])?",
            page.read_text(),
            re.MULTILINE,
        ):
            found += [f"{name}.{m}" for m in members.split(", ")] if members else [name]
    return found


@pytest.mark.parametrize("name", names())
def test_a_name_of_the_reference_is_in_the_code_and_says_what_it_is(name):
    module, _, last = name.rpartition(".")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    is_module = spec.submodule_search_locations and importlib.util.find_spec(name)
    found = import_module(name) if is_module else getattr(import_module(module), last)
    assert found.__doc__


def test_the_reference_has_a_page_for_every_layer():
    assert {page.stem for page in API} == LAYERS


def test_nothing_is_fetched_from_elsewhere():
    settings = yaml.safe_load((REPO / "mkdocs.yml").read_text())
    assert settings["theme"]["font"] is False
    assert not {"site_url", "repo_url", "extra", "extra_javascript"} & set(settings)
