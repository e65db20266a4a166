"""EgoSchema as its authors ship it: four questions, the answers of two of them."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row


def write(root: Path) -> None:
    questions = [
        {"q_uid": name, "google_drive_id": "", "question": f"What is {name} about?"}
        | {f"option {i}": f"C does {i}." for i in range(5)}
        for name in ("aa-1", "bb-2", "cc-3", "dd-4")
    ]
    (root / "questions.json").write_text(json.dumps(questions))
    (root / "subset_answers.json").write_text(json.dumps({"cc-3": 4, "aa-1": 0, "dd-4": 7}))
    (root / "videos").mkdir()
    for name in ("aa-1", "bb-2", "cc-3", "dd-4"):
        (root / "videos" / f"{name}.mp4").write_bytes(b"not looked at here")


ROW = Row(write, {"subset": ("aa-1", "cc-3")}, {"subset": {"dd-4": "not exactly one"}})
