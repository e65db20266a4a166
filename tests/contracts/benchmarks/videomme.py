"""Video-MME, two videos of three questions each; the second has no subtitles."""

from pathlib import Path
from shutil import copyfile

import pyarrow as pa
from pyarrow import parquet

from tests.contracts.benchmarks import Row

TASKS = ("Temporal Reasoning", "Temporal Perception", "OCR Problems")


def write(root: Path) -> None:
    rows = [
        {
            "video_id": f"{video:03d}",
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "Humanity & History",
            "url": "",
            "videoID": f"clip{video}",
            "question_id": f"{video:03d}-{number + 1}",
            "task_type": task,
            "question": f"What comes after number {number}?",
            "options": [f"{letter}. Thing {letter}{number}." for letter in "ABCD"],
            "answer": "ABCD"[number],
        }
        for video in (1, 2)
        for number, task in enumerate(TASKS)
    ]
    (root / "videomme").mkdir(parents=True)
    parquet.write_table(
        pa.Table.from_pylist(rows), root / "videomme" / "test-00000-of-00001.parquet"
    )
    (root / "data").mkdir()
    for video in (1, 2):
        (root / "data" / f"clip{video}.mp4").write_bytes(b"not looked at here")
    (root / "subtitle").mkdir()
    (root / "subtitle" / "clip1.srt").write_text(
        '1\n00:00:01,000 --> 00:00:02,500\n<font color="white" size=".72c">hello there</font>\n'
    )


def lay(shared: Path, root: Path) -> None:
    (root / "videomme").mkdir()
    [table] = shared.glob("*.parquet")
    copyfile(table, root / "videomme" / "test-00000-of-00001.parquet")


IDS = tuple(f"{video:03d}-{number}" for video in (1, 2) for number in (1, 2, 3))
COUNTS = {
    "task_type": {
        "Object Reasoning": 454,
        "Object Recognition": 354,
        "Information Synopsis": 323,
        "Action Recognition": 313,
        "Action Reasoning": 285,
        "Counting Problem": 268,
        "Attribute Perception": 222,
        "Temporal Reasoning": 177,
        "OCR Problems": 139,
        "Spatial Reasoning": 56,
        "Temporal Perception": 55,
        "Spatial Perception": 54,
    }
}
ROW = Row(
    write,
    {"plain": IDS, "subtitles": IDS},
    real={"plain": ("videomme", 2700)},
    counts={"plain": COUNTS},
    lay=lay,
)
