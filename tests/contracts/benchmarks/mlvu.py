"""MLVU: two tasks with options, one question of them without a right one, and an open task."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

TASKS = {
    "2_needle": [("Red", ["Blue", "Red"]), ("Green", ["Blue", "Red"])],
    "5_order": [("2->1", ["1->2", "2->1"]), ("x", ["x", "x"])],
    "9_summary": [("A long story.", None)],
}


def write(root: Path) -> None:
    (root / "MLVU" / "json").mkdir(parents=True)
    for task, rows in TASKS.items():
        (root / "MLVU" / "video" / task).mkdir(parents=True)
        (root / "MLVU" / "video" / task / "a_1.mp4").write_bytes(task.encode())
        table = [
            {"video": "a_1.mp4", "duration": 480, "question": "Which?", "answer": answer}
            | ({"candidates": options, "question_type": "t"} if options else {})
            for answer, options in rows
        ]
        (root / "MLVU" / "json" / f"{task}.json").write_text(json.dumps(table))


ROW = Row(
    write,
    {"dev": ("needle/0", "order/0")},
    {
        "dev": {
            "needle/1": "not exactly one",
            "order/1": "not exactly one",
            "summary/0": "judge",
        }
    },
)
