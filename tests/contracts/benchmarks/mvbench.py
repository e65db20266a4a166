"""MVBench, a question a task, some with two; one clip is cut, one a folder of pictures."""

import json
from pathlib import Path

from merit_opt.data.benchmarks.mvbench import CUT, FOLDERS
from tests.contracts.benchmarks import Row

PICTURES = "episodic_reasoning"


def question(task: str) -> dict[str, object]:
    return {
        "video": "clip1" if task == PICTURES else "clip1.mp4",
        "question": f"What is seen of {task}?",
        "candidates": ["Nothing.", "Something.", "Everything."],
        "answer": "Something.",
        **({"start": 1.5, "end": 4.0} if task in CUT else {}),
        **({"fps": 3, "subtitle": "(A:)hello"} if task == PICTURES else {}),
    }


def write(root: Path) -> None:
    (root / "json").mkdir()
    for task, folder in FOLDERS.items():
        rows = [question(task)]
        if task == "counterfactual_inference":
            rows += [
                question(task) | {"candidates": ["Something."]},
                question(task) | {"answer": "Anything."},
                question(task) | {"candidates": ["Something.", "Something."]},
            ]
        if task == "action_sequence":
            lost = question(task)
            del lost["start"]
            rows.append(lost)
        (root / "json" / f"{task}.json").write_text(json.dumps(rows))
        medium = root / "video" / folder / str(rows[0]["video"])
        if task == PICTURES:
            medium.mkdir(parents=True)
            (medium / "00001.jpg").write_bytes(b"a picture")
        else:
            medium.parent.mkdir(parents=True, exist_ok=True)
            medium.write_bytes(b"not looked at here")


def lay(shared: Path, root: Path) -> None:
    """The copy in bench_data has lost when the clips of four tasks start and end."""
    (root / "json").mkdir()
    for path in (shared / "json").glob("*.json"):
        rows = json.loads(path.read_text())
        if path.stem in CUT:
            rows = [{"start": 0.0, "end": 1.0} | row for row in rows]
        (root / "json" / path.name).write_text(json.dumps(rows))


def ids() -> tuple[str, ...]:
    more = {"counterfactual_inference": 2}
    return tuple(f"{task}/{i}" for task in FOLDERS for i in range(more.get(task, 1)))


ROW = Row(
    write,
    {"all": ids()},
    left_out={
        "all": {
            "action_sequence/1": "starts and ends",
            "counterfactual_inference/2": "not exactly one of its options",
            "counterfactual_inference/3": "not exactly one of its options",
        }
    },
    real={"all": ("mvbench", 4000)},
    counts={"all": {"task": dict.fromkeys(FOLDERS, 200)}},
    lay=lay,
)
