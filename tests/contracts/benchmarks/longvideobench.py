"""LongVideoBench: a question on what is seen, one on what is said, one without an answer."""

import json
from pathlib import Path
from shutil import copyfile

from tests.contracts.benchmarks import Row

ROWS = (("one", "S2E", 1, 0), ("one", "T3E", 0, 42.5), ("two", "SSS", -1, 0))


def write(root: Path) -> None:
    rows = [
        {
            "video_id": f"@{video}",
            "question": f"What happens in {category}? ",
            "candidates": ["Dancing", "Running", "Nothing"],
            "correct_choice": answer,
            "question_category": category,
            "topic_category": "KH-Knowledge",
            "level": "L2-Relation" if category != "S2E" else "L1-Perception",
            "id": f"@{video}_{number}",
            "video_path": f"{video}.mp4",
            "subtitle_path": f"{video}_en.json",
            "duration_group": 15,
            "starting_timestamp_for_subtitles": offset,
            "duration": 10.0,
            "type": "local",
        }
        for number, (video, category, answer, offset) in enumerate(ROWS)
    ]
    (root / "lvb_val.json").write_text(json.dumps(rows))
    for folder in ("videos", "subtitles"):
        (root / folder).mkdir()
    for video in ("one", "two"):
        (root / "videos" / f"{video}.mp4").write_bytes(b"not looked at here")
    cues = [
        {"start": "00:00:40.000", "end": "00:00:42.000", "line": "too early"},
        {"start": "00:00:43.000", "end": "00:00:44.000", "line": "now"},
    ]
    (root / "subtitles" / "one_en.json").write_text(json.dumps(cues))


def lay(real: Path, root: Path) -> None:
    copyfile(real / "lvb_val.json", root / "lvb_val.json")


IDS = ("@one_0", "@one_1")
HIDDEN = {"@two_2": "kept back"}
ROW = Row(
    write,
    {"plain": IDS, "subtitles": IDS},
    {"plain": HIDDEN, "subtitles": HIDDEN},
    real={"plain": ("longvideobench_excerpt", 3)},
    lay=lay,
)
