"""VCR-Bench: a question with options, one in free text."""

import json
from pathlib import Path
from shutil import copyfile

from tests.contracts.benchmarks import Row


def write(root: Path) -> None:
    rows = [
        {
            "id": number,
            "video_path": "video/film/a.mp4",
            "duration": 56,
            "dimension": "Video Plot Analysis",
            "question": "Why did he run?" + "".join(f"{k}. {v}\n" for k, v in choices.items()),
            "multiple-choice": bool(choices),
            "choices": {letter: choices.get(letter, "") for letter in "ABCD"},
            "answer": answer,
            "reasoning": ["1. He saw it.", "2. He ran."],
        }
        for number, choices, answer in (
            (0, {}, "He was late."),
            (3, {"A": "He was late.", "B": "He was early.", "C": "He was cold."}, "B"),
            (4, {"A": "Yes.", "B": "No."}, "D"),
        )
    ]
    folder = root / "v1" / "videos"
    (folder / "video" / "film").mkdir(parents=True)
    (folder / "video" / "film" / "a.mp4").write_bytes(b"not looked at here")
    (folder / "meta_info_video.json").write_text(json.dumps(rows))


def lay(real: Path, root: Path) -> None:
    copyfile(real / "input.json", root / "meta_info_video.json")


ROW = Row(
    write,
    {"choices": ("3",)},
    {"choices": {"0": "judge", "4": "not exactly one"}},
    real={"choices": ("vcr_bench", 4)},
    lay=lay,
)
