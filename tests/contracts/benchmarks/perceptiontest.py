"""Perception Test as its authors ship it: a video that is cut, one that is not."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row


def question(number: int, answer: int) -> dict[str, object]:
    return {
        "id": number,
        "question": "Where is the ball?",
        "options": ["left", "right", "nowhere"],
        "answer_id": answer,
        "area": "physics",
        "reasoning": "predictive" if number else "descriptive",
        "tag": ["occlusion", "solidity"],
    }


def write(root: Path) -> None:
    entries = {
        video: {
            "metadata": {"split": "valid", "video_id": video, "frame_rate": 30.0},
            "mc_question": [question(0, 2), question(1, answer)],
        }
        for video, answer in (("video_7", 0), ("video_9", 3))
    }
    (root / "mc_question_valid.json").write_text(json.dumps(entries))
    cuts = {"video_7": 60, "video_9": -1}
    (root / "cut_frame_mapping_valid.json").write_text(json.dumps(cuts))
    (root / "videos").mkdir()
    for video in entries:
        (root / "videos" / f"{video}.mp4").write_bytes(b"not looked at here")


ROW = Row(
    write,
    {"val": ("video_7_0", "video_7_1", "video_9_0")},
    {"val": {"video_9_1": "not exactly one"}},
)
