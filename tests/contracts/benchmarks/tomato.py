"""TOMATO, in the layout of GitHub: a question a type."""

import json
from pathlib import Path

from merit_opt.data.benchmarks.tomato import TYPES
from tests.contracts.benchmarks import Row


def question(kind: str) -> dict[str, object]:
    return {
        "question": f"What changes in {kind}?",
        "options": ["Nothing.", "Something.", "Everything."],
        "answer": 1,
        "video_source_url": "",
        "motion_type": kind,
        "variation": {"counterfactual": 0, "composite": 0, "zoom": 0, "first_person": 0},
        "demonstration_type": "object",
        "note": "",
        "key": "0001-00",
    }


def write(root: Path) -> None:
    (root / "data").mkdir()
    for kind in TYPES:
        rows = {"0": question(kind)}
        if kind == "count":
            rows["1"] = question(kind) | {"answer": 3}
        (root / "data" / f"{kind}.json").write_text(json.dumps(rows))
    (root / "videos" / "object").mkdir(parents=True)
    (root / "videos" / "object" / "0001-00.mp4").write_bytes(b"not looked at here")


ROW = Row(
    write,
    {"all": tuple(f"{kind}/0" for kind in TYPES)},
    left_out={"all": {"count/1": "not exactly one of its options"}},
)
