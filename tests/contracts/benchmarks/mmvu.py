"""MMVU, a question with options and an open one."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

HUB = "https://huggingface.co/datasets/yale-nlp/MMVU/resolve/main/"


def question(number: int, kind: str, choices: dict[str, str], answer: str) -> dict[str, object]:
    return {
        "id": f"validation_{number}",
        "video": f"{HUB}videos/Art/{number}.mp4",
        "youtube_url": "",
        "question_type": kind,
        "metadata": {"subject": "Art", "textbook": "", "knowledge": [], "rationale": ""},
        "question": f"Which technique is number {number}?",
        "choices": choices,
        "answer": answer,
    }


def write(root: Path) -> None:
    choices = {letter: f"Technique {letter}" for letter in "ABCDE"}
    rows = [
        question(0, "open-ended", dict.fromkeys("ABCDE", ""), "Dolly zoom"),
        question(1, "multiple-choice", choices, "C"),
        question(2, "multiple-choice", choices, "F"),
    ]
    (root / "validation.json").write_text(json.dumps(rows))
    (root / "videos" / "Art").mkdir(parents=True)
    for number in range(3):
        (root / "videos" / "Art" / f"{number}.mp4").write_bytes(b"not looked at here")


ROW = Row(
    write,
    {"validation": ("validation_1",)},
    left_out={
        "validation": {
            "validation_0": "only a judge",
            "validation_2": "not exactly one of its options",
        }
    },
    real={"validation": ("mmvu", 1000)},
)
