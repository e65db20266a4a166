"""The table of families says what the code says."""

import re
from pathlib import Path

from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from merit_opt.models.families import FAMILIES
from merit_opt.models.families.family import Family
from merit_opt.recipe.recipe import PARTS

TRIED = re.compile(r"not yet|[A-Za-z][\w ]+, 20\d\d-\d\d-\d\d")
ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)


def row(family: Family) -> list[str]:
    texts = dict.fromkeys(family.backbones.values())
    return [
        f"`{MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[family.model_type]}`",
        ", ".join(texts),
        "all" if family.parts == PARTS else ", ".join(family.parts),
        "video" if family.video_entry == "video" else "frames",
    ]


def test_the_rows_are_the_families(repo: Path) -> None:
    page = (repo / "docs" / "families.md").read_text()
    found = {name: [cell.strip() for cell in rest.split("|")] for name, rest in ROW.findall(page)}
    assert list(found) == list(FAMILIES)
    for name, cells in found.items():
        class_, texts, loads, aligns, merges, exports, video, image, tested, gpu = cells
        assert [class_, texts, merges, video] == row(FAMILIES[name])
        assert {loads, aligns, exports, image} == {"yes"}
        assert TRIED.fullmatch(gpu), gpu
        assert tested in texts.split(", ")


def test_a_try_on_a_card_names_it_and_the_day() -> None:
    assert TRIED.fullmatch("NVIDIA H100 80GB, 2026-01-31")
    assert not TRIED.fullmatch("yes")
    assert not TRIED.fullmatch("NVIDIA H100")
    assert not TRIED.fullmatch("2026-01-31")
