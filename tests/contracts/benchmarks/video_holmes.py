"""Video-Holmes, a film of two questions and one whose answer is none of the options."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row


def question(number: int, kind: str, answer: str) -> dict[str, object]:
    return {
        "video ID": "film1",
        "Question ID": number,
        "Question Type": kind,
        "Question": f"Why does event {number} happen?",
        "Options": {letter: f"Reason {letter}{number}" for letter in "ABCDEF"},
        "Answer": answer,
        "Explanation": "it is shown",
    }


def write(root: Path) -> None:
    rows = [question(1, "TCI", "B"), question(2, "SR", "F"), question(3, "TA", "G")]
    (root / "test_Video-Holmes.json").write_text(json.dumps(rows))
    (root / "videos_cropped").mkdir()
    (root / "videos_cropped" / "film1.mp4").write_bytes(b"not looked at here")


def lay(shared: Path, root: Path) -> None:
    paths = sorted((shared / "example_questions").glob("*.json"))
    rows = [row for path in paths for row in json.loads(path.read_text())]
    (root / "test_Video-Holmes.json").write_text(json.dumps(rows))


ROW = Row(
    write,
    {"test": ("film1/1", "film1/2")},
    left_out={"test": {"film1/3": "not exactly one of its options"}},
    real={"test": ("video_holmes", 16)},
    lay=lay,
)
