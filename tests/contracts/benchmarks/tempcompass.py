"""TempCompass, in the layout of GitHub; two videos, one of them the other reversed."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

CHOICE = {"question": "What is it doing?\nA. Rolling\nB. Resting", "answer": "B. Resting"}
NAMED = {
    "question": "Which caption matches?\nOption 1: It rolls.\nOption 2: It rests.",
    "answer": "Option 2: It rests.",
}
QUESTIONS = {
    "multi-choice": {
        "100": {"action": [CHOICE, CHOICE], "speed": [CHOICE | {"answer": "B. Restless"}]},
        "100_reverse": {"order": [CHOICE]},
    },
    "yes_no": {
        "100": {"action": [{"question": "Does it roll?", "answer": "yes"}]},
        "100_reverse": {"order": [{"question": "Does it roll?", "answer": "no"}]},
    },
    "caption_matching": {"100": {"action": [NAMED]}, "100_reverse": {"order": [NAMED]}},
}


def write(root: Path) -> None:
    (root / "questions").mkdir()
    for variant, content in QUESTIONS.items():
        (root / "questions" / f"{variant}.json").write_text(json.dumps(content))
    (root / "videos").mkdir()
    for video in ("100", "100_reverse"):
        (root / "videos" / f"{video}.mp4").write_bytes(b"not looked at here")


IDS = ("100/action/0", "100_reverse/order/0")
ROW = Row(
    write,
    {
        "multi-choice": ("100/action/0", "100/action/1", "100_reverse/order/0"),
        "yes_no": IDS,
        "caption_matching": IDS,
    },
    left_out={"multi-choice": {"100/speed/0": "not exactly one of its options"}},
    real={
        "multi-choice": ("tempcompass", 1580),
        "yes_no": ("tempcompass", 2453),
        "caption_matching": ("tempcompass", 1503),
    },
    counts={
        "multi-choice": {
            "dim": {
                "action": 338,
                "direction": 335,
                "speed": 317,
                "order": 302,
                "attribute_change": 288,
            }
        }
    },
)
