"""Video-TT: two questions on one video, and one without a right answer."""

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from tests.contracts.benchmarks import Row

OPTIONS = "A. A cat\nB. A dog\nC. Two dogs\nD. None\nPlease select one of the options."


def write(root: Path) -> None:
    rows = [
        {
            "video_id": video,
            "duration": 31,
            "question": f"What is {part}?",
            "question_prompt": OPTIONS,
            "capability": "Plot Attribute",
            "answer": answer,
        }
        for video, part, answer in (
            ("xy-1", "first", "D"),
            ("xy-1", "last", "A"),
            ("zz_2", "left", "E"),
        )
    ]
    (root / "data").mkdir()
    parquet.write_table(pa.Table.from_pylist(rows), root / "data" / "test-00000-of-00001.parquet")
    (root / "Benchmark-AllVideos-LQ").mkdir()
    for video in ("xy-1.mp4", "zz_2.mkv"):
        (root / "Benchmark-AllVideos-LQ" / video).write_bytes(b"not looked at here")


ROW = Row(
    write,
    {"choices": ("xy-1-1", "xy-1-2")},
    {"choices": {"zz_2-1": "not exactly one"}},
)
