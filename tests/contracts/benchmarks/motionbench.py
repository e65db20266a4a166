"""MotionBench: a video with two questions, one of them of the hidden test, and one more."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

QUESTION = "How does the ball move?\nA. To the left\nB. To the right\nC. Not at all"


def write(root: Path) -> None:
    videos = (
        ("one.mp4", "Camera Motion", (("0", "B"), ("1", "NA"))),
        ("two.mp4", "Action Order", (("2", "C"), ("3", "F"))),
    )
    rows = [
        {
            "key": video[:3],
            "video_type": "movie",
            "question_type": kind,
            "video_path": video,
            "qa": [{"uid": uid, "question": QUESTION, "answer": gold} for uid, gold in asked],
        }
        for video, kind, asked in videos
    ]
    folder = root / "MotionBench"
    (folder / "self-collected").mkdir(parents=True)
    (folder / "public-dataset").mkdir()
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "video_info.meta.jsonl").write_text(text)
    (folder / "self-collected" / "one.mp4").write_bytes(b"not looked at here")
    (folder / "public-dataset" / "two.mp4").write_bytes(b"not looked at here")


ROW = Row(
    write,
    {"dev": ("0", "2")},
    {"dev": {"1": "kept back", "3": "not exactly one"}},
)
