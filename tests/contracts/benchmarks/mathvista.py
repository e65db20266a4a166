"""MathVista: one question of each kind of answer, and one without a right option."""

from tests.contracts.benchmarks import Row
from tests.contracts.benchmarks.pictures import held, write_table

KINDS = (
    (["Yes", "No"], "No", "text", None),
    (["3 cm", "4 cm", "5 cm"], "5 cm", "text", None),
    (None, "14", "integer", None),
    (None, "2.5", "float", 1.0),
    (None, "[1, 2]", "list", None),
    (["1", "1"], "1", "text", None),
)


def row(number, choices, answer, answer_type, precision):
    return {
        "pid": str(number),
        "question": f"How wide is bar {number}?",
        "image": f"images/{number}.jpg",
        "decoded_image": held(number),
        "choices": choices,
        "unit": "m" if answer_type == "float" else None,
        "precision": precision,
        "answer": answer,
        "question_type": "multi_choice" if choices else "free_form",
        "answer_type": answer_type,
        "metadata": {
            "category": "general-vqa" if number % 2 else "math-targeted-vqa",
            "task": "figure question answering",
            "context": "bar chart",
            "grade": "high school",
            "language": "english",
            "source": "made up",
            "skills": ["statistical reasoning", "arithmetic reasoning"],
            "split": "testmini",
        },
    }


ROWS = [row(number, *kind) for number, kind in enumerate(KINDS, 1)]


def write(root):
    write_table(root / "data" / "testmini-00000-of-00001-0123.parquet", ROWS)


ROW = Row(
    write,
    {"testmini": ("1", "2", "3", "4")},
    {"testmini": {"5": "only a judge could tell", "6": "not exactly one"}},
)
