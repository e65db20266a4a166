"""Video-MMMU as its authors ship it: two lectures, asked about in three ways."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

TRACKS = ("Perception", "Comprehension", "Adaptation")
LECTURES = ("dev_Art_Theory_3", "test_Physics_14")


def write(root: Path) -> None:
    (root / "data").mkdir()
    for track in TRACKS:
        rows = {
            str(number): {
                "id": lecture,
                "link_selected": "",
                "question": f"<image 1> Which one in {track}? ",
                "options": [f"thing {i}" for i in range(10)],
                "answer": "J",
            }
            | ({"question_type": "multiple-choice"} if track == "Adaptation" else {})
            for number, lecture in enumerate(LECTURES)
        }
        if track == "Adaptation":
            rows["1"] |= {"options": [], "answer": "12.97", "question_type": "open"}
        (root / "data" / f"{track.lower()}_video.json").write_text(json.dumps({track: rows}))
    for folder, lecture in zip(("Art", "Science"), LECTURES, strict=True):
        (root / folder).mkdir()
        (root / folder / f"{lecture}.mp4").write_bytes(b"not looked at here")


ROW = Row(
    write,
    {
        "perception": LECTURES,
        "comprehension": LECTURES,
        "adaptation": LECTURES[:1],
        "all": (
            *(f"Perception/{lecture}" for lecture in LECTURES),
            *(f"Comprehension/{lecture}" for lecture in LECTURES),
            f"Adaptation/{LECTURES[0]}",
        ),
    },
    {
        "adaptation": {LECTURES[1]: "judge"},
        "all": {f"Adaptation/{LECTURES[1]}": "judge"},
    },
)
