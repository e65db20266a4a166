"""The page of published pairs and the options say the same."""

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from merit_opt.cli import conf_dir

ROW = re.compile(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \|", re.MULTILINE)
REVISION = re.compile(r"[0-9a-f]{40}|refs/pr/\d+")


def published() -> dict[str, dict[str, Any]]:
    """Option files of repositories on the hub, by name."""
    files = (conf_dir() / "pair").glob("*.yaml")
    options = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in files}
    return {name: pair for name, pair in options.items() if "/" in pair["vlm"]}


def test_the_page_lists_every_published_pair_with_its_repositories(repo: Path):
    rows = ROW.findall((repo / "docs" / "pairs.md").read_text())
    options = published()
    assert sorted(rows) == sorted(
        (name, pair["vlm"], pair["backbone"], pair["base"] or "-")
        for name, pair in options.items()
    )
    assert len(options) > 20


def test_a_revision_is_a_commit_or_a_pull_request():
    pinned = [
        (name, key, pair[key])
        for name, pair in published().items()
        for key in ("revision", "backbone_revision", "base_revision")
        if pair[key] is not None
    ]
    assert [row for row in pinned if not REVISION.fullmatch(row[2])] == []
    assert not [
        row for row in pinned if row[1] == "base_revision" and not published()[row[0]]["base"]
    ]


def test_a_published_pair_says_its_pixels_what_was_not_verified_and_how_to_check_it():
    for name in published():
        header = (conf_dir() / "pair" / f"{name}.yaml").read_text().split("_target_")[0]
        assert "not verified against the hub" in header
        assert "\n# Pixels: " in header
        assert f"merit-opt check pair={name}\n" in header
