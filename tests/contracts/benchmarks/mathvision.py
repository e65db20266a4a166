"""MATH-Vision: an option, a number, and a letter that only the picture explains."""

from tests.contracts.benchmarks import Row
from tests.contracts.benchmarks.pictures import held, write_table

KINDS = ((["A", "B", "C", "D", "E"], "D"), ([], "61"), (["$3$", "$4$"], "B"), ([], "C"))


def row(number, options, answer):
    return {
        "id": str(number),
        "question": f"Which piece is missing?\n<image{number}>",
        "options": options,
        "image": f"images/{number}.jpg",
        "decoded_image": held(number),
        "answer": answer,
        "solution": None,
        "level": number,
        "subject": "counting",
    }


def write(root):
    rows = [row(number, *kind) for number, kind in enumerate(KINDS, 1)]
    write_table(root / "data" / "test-00000-of-00001-0123.parquet", rows)
    write_table(root / "data" / "testmini-00000-of-00001-0123.parquet", rows[1:])


ROW = Row(
    write,
    {"test": ("1", "2", "3"), "testmini": ("2", "3")},
    {key: {"4": "only a judge could tell"} for key in ("test", "testmini")},
)
