"""MathVerse: three problems in two of its five versions."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row
from tests.contracts.benchmarks.pictures import held, write_table

VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")
PROBLEMS = (
    ("How long is AB?\nChoices:\nA:2\nB:3\nC:4", "multi-choice", "(B)"),
    ("What is the angle?", "free-form", "53.6"),
    ("Where is the shop?", "free-form", "S 23.5 ^\\circ W"),
)


def rows(problems, versions, image):
    for problem, (question, kind, answer) in enumerate(problems, 1):
        for place, version in enumerate(versions):
            number = (problem - 1) * len(versions) + place + 1
            yield {
                "sample_index": str(number),
                "problem_index": str(problem),
                "problem_version": version,
                "question": "" if version == "Vision Only" else question,
                "image": image(problem),
                "answer": answer,
                "question_type": kind,
                "metadata": {
                    "split": "testmini",
                    "source": "made up",
                    "subject": "Plane Geometry",
                    "subfield": "Length",
                },
            }


def write(root):
    made_up = rows(PROBLEMS, ("Text Dominant", "Vision Only"), held)
    write_table(root / "testmini.parquet", list(made_up))


def lay(shared: Path, root: Path):
    """The five versions, made of the version without pictures that is there."""
    told = json.loads((shared / "testmini_text_only.json").read_text())
    problems = [(row["question"], row["question_type"], row["answer"]) for row in told]
    made = rows(problems, VERSIONS, lambda problem: f"images_version_5/image_{problem}.png")
    (root / "testmini.json").write_text(json.dumps(list(made)))


ROW = Row(
    write,
    {"testmini": ("1", "2", "3", "4")},
    {"testmini": dict.fromkeys(("5", "6"), "only a judge could tell")},
    real={"testmini": ("mathverse", 3940)},
    lay=lay,
)
