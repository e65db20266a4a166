"""TVBench, a question a task."""

import json
from pathlib import Path

from merit_opt.data.benchmarks.tvbench import NAMES
from tests.contracts.benchmarks import Row


def write(root: Path) -> None:
    (root / "json").mkdir()
    for task in NAMES:
        row = {
            "video": "clip1.mp4",
            "question": f"What is seen of {task}?",
            "candidates": ["Something.", "Nothing."],
            "answer": "Something.",
        }
        bad = row | {"answer": "Anything."}
        rows = [row | {"start": 0.5, "end": 2.0}, bad] if task == "action_sequence" else [row]
        (root / "json" / f"{task}.json").write_text(json.dumps(rows))
        (root / "video" / task).mkdir(parents=True)
        (root / "video" / task / "clip1.mp4").write_bytes(b"not looked at here")


def lay(shared: Path, root: Path) -> None:
    """An excerpt of four tasks."""
    (root / "json").mkdir()
    for task in NAMES:
        path = shared / f"{task}.json"
        (root / "json" / path.name).write_text(path.read_text() if path.exists() else "[]")


ROW = Row(
    write,
    {"all": tuple(f"{task}/0" for task in NAMES)},
    left_out={"all": {"action_sequence/1": "not exactly one of its options"}},
    real={"all": ("tvbench_excerpt", 17)},
    lay=lay,
)
