"""MMStar: options on one line, a line each, and none to be told apart."""

from tests.contracts.benchmarks import Row
from tests.contracts.benchmarks.pictures import picture, write_table

KINDS = (
    ("Where is the case?\nOptions: A: On it, or in it., B: Under it., C: Far off., D: Lost.", "A"),
    ("Question: Find x\nChoices:\n(A) 97\n(B) 102\n(C) 107\n(D) 122", "D"),
    ("Which of them is it?", "A"),
)


def write(root):
    rows = [
        {
            "index": number,
            "question": question,
            "image": picture(number),
            "answer": answer,
            "category": "math",
            "l2_category": "geometry",
            "meta_info": {
                "source": "MathVista",
                "split": "testmini",
                "image_path": f"images/{number}.jpg",
            },
        }
        for number, (question, answer) in enumerate(KINDS)
    ]
    write_table(root / "mmstar.parquet", rows)


ROW = Row(write, {"val": ("0", "1")}, {"val": {"2": "options cannot be told"}})
