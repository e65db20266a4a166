"""STAR: two parts of one video, one with its choices out of order, one without a right one."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row


def write(root: Path) -> None:
    choices = [
        {"choice": "The table.", "choice_id": 1, "choice_program": []},
        {"choice": "The blanket.", "choice_id": 0, "choice_program": []},
    ]
    rows = [
        {
            "question_id": name,
            "question": "Which object was tidied up by the person?",
            "video_id": "6H78U",
            "start": start,
            "end": start + 8.5,
            "answer": answer,
            "question_program": [],
            "choices": choices,
            "situations": {"000111": {"labels": ["o1"]}},
        }
        for name, start, answer in (
            ("Interaction_T1_13", 11.1, "The table."),
            ("Feasibility_T6_2", 0, "The blanket."),
            ("Sequence_T3_5", 0, "The door."),
        )
    ]
    (root / "STAR_val.json").write_text(json.dumps(rows))
    (root / "Charades_v1_480").mkdir()
    (root / "Charades_v1_480" / "6H78U.mp4").write_bytes(b"not looked at here")


ROW = Row(
    write,
    {"val": ("Interaction_T1_13", "Feasibility_T6_2")},
    {"val": {"Sequence_T3_5": "not exactly one"}},
)
