"""The lowest versions that pyproject.toml claims are those that `make lowest` tests."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

DEVELOPERS = {"dev", "docs", "release"}


@pytest.fixture(scope="module")
def extras(repo: Path) -> dict[str, list[Requirement]]:
    """What each extra needs, and under no name what everybody does."""
    project = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
    lines = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines[extra]] for extra in lines}


@pytest.fixture(scope="module")
def used(extras: dict[str, list[Requirement]]) -> list[Requirement]:
    """What users install."""
    return [r for extra, needed in extras.items() if extra not in DEVELOPERS for r in needed]


def floor(requirement: Requirement) -> Version:
    [version] = [s.version for s in requirement.specifier if s.operator == ">="]
    return Version(version)


def test_the_lowest_versions_that_are_claimed_are_tested(
    repo: Path, used: list[Requirement]
) -> None:
    lines = (repo / "requirements.lowest.lock").read_text().splitlines()
    pins = {
        name: Version(version) for name, _, version in (line.partition("==") for line in lines)
    }
    assert {r.name: pins.get(r.name) for r in used} == {r.name: floor(r) for r in used}


def test_developers_install_what_users_may(
    extras: dict[str, list[Requirement]], used: list[Requirement]
) -> None:
    claims = {r.name: str(r) for r in used}
    again = {r.name: str(r) for r in extras["dev"] if r.name in claims}
    assert again == {name: claims[name] for name in again}
