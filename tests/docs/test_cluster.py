"""The table of sizes is what `merit-opt check` says of the published pairs."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.check_pair import pair_lines
from merit_opt.models import checkpoint
from merit_opt.models.footprint import likely_dtype
from merit_opt.models.source import PairSource
from merit_opt.models.spread import planned
from merit_opt.units import size_text
from tests.docs.published import PUBLISHED, Published

ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
SIZES = re.compile(
    r"a visual token takes (.+) of features and (.+) a level of hidden states; self-attention takes "
    r"(.+) of the decoder layers' (.+)"
)
SKIPPED = ("_target_", "accept")


def options() -> Iterator[tuple[str, dict[str, Any]]]:
    """The first pair of each published VLM, by the name of its option."""
    seen = set[str]()
    for path in sorted((conf_dir() / "pair").glob("*.yaml")):
        option: Any = OmegaConf.to_container(OmegaConf.load(path))
        if "/" in option["vlm"] and option["vlm"] not in seen:
            seen.add(option["vlm"])
            yield path.stem, option


OPTIONS = dict(options())


def described(option: dict[str, Any], hub: Path, monkeypatch: pytest.MonkeyPatch) -> PairSource:
    """A pair before its weights are here."""
    published = PUBLISHED[option["vlm"]]

    def snapshot(name: str, **_: object) -> str:
        folder = hub / name
        (Published.write_vlm if name == option["vlm"] else Published.write_text)(published, folder)
        return str(folder)

    monkeypatch.setattr(checkpoint, "snapshot_download", snapshot)
    fields = {key: value for key, value in option.items() if key not in SKIPPED}
    return PairSource(**fields, accept=tuple(option["accept"]))


def row(lines: list[str]) -> list[str]:
    """The cells that its line of the table has."""
    [layers] = [line.split()[0] for line in lines if line.endswith(" decoder layers")]
    [dtype] = [line.split()[-1] for line in lines if line.startswith("computed in ")]
    [sizes] = [found.groups() for line in lines if (found := SIZES.fullmatch(line))]
    return [layers, dtype, *sizes]


@pytest.fixture(scope="module")
def told(repo: Path) -> dict[str, list[str]]:
    page = (repo / "docs" / "cluster.md").read_text()
    return {name: [c.strip() for c in rest.split("|")] for name, rest in ROW.findall(page)}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_row_is_what_check_says(name, told, tmp_path, monkeypatch):
    assert told[name] == row(list(pair_lines(described(OPTIONS[name], tmp_path, monkeypatch))))


@pytest.mark.skipif(find_spec("accelerate") is None, reason="accelerate is not installed")
def test_what_three_cards_take_of_the_largest_is_what_is_planned(repo, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (80 * 10**9, 80 * 10**9))
    source = described(OPTIONS["qwen2_5_vl_72b"], tmp_path, monkeypatch)
    config, dtype = source.vlm_config, likely_dtype(source)
    plan = planned(config, dtype, source.alignment, "balanced", "device")
    plan.require_room()
    weights, attention = (
        size_text(max(sizes))
        for sizes in zip(*((s.weights, s.attention) for s in plan.shares), strict=True)
    )
    page = " ".join((repo / "docs" / "cluster.md").read_text().split())
    assert f"on three cards of 80 GB: at most {weights} and twice {attention}." in page


def test_every_published_vlm_has_a_row_and_nothing_else_has(told):
    assert sorted(told) == sorted(OPTIONS)
    assert {option["vlm"] for option in OPTIONS.values()} == PUBLISHED.keys()


def test_layers_and_widths_are_those_of_the_page_of_pairs(repo):
    page = (repo / "docs" / "pairs.md").read_text()
    for name, option in OPTIONS.items():
        [cells] = [rest.split("|") for found, rest in ROW.findall(page) if found == name]
        hidden, layers, *_ = PUBLISHED[option["vlm"]].widths
        assert [int(cells[3]), int(cells[4])] == [layers, hidden], name
