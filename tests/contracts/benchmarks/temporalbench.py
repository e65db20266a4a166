"""TemporalBench: a short clip with two questions, and a long video with one and a broken one."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

QUESTION = (
    "Which caption best describes this video?\nA. He turns left. \nB. He turns right.\n"
    "Answer with the option's letter from the given choices directly."
)


def write(root: Path) -> None:
    short, long = "short_video/Oops/a.mp4", "long_video/COIN/b.mp4"
    tables = {
        "short": [
            {"idx": f"{short}_{i}", "category": "Action Order", "source_dataset": "Oops"}
            | {"video_name": short, "question": QUESTION, "GT": gold}
            for i, gold in enumerate("AB")
        ],
        "long": [
            {"idx": f"{long}_{i}", "dataset": "COIN"}
            | {"video_name": long, "question": QUESTION, "GT": gold}
            for i, gold in enumerate("BC")
        ],
    }
    for name, rows in tables.items():
        (root / f"temporalbench_{name}_qa.json").write_text(json.dumps(rows))
    for video in (short, long):
        (root / video).parent.mkdir(parents=True)
        (root / video).write_bytes(b"not looked at here")


ROW = Row(
    write,
    {
        "short_qa": ("short_video/Oops/a.mp4_0", "short_video/Oops/a.mp4_1"),
        "long_qa": ("long_video/COIN/b.mp4_0",),
    },
    {"long_qa": {"long_video/COIN/b.mp4_1": "not exactly one"}},
)
