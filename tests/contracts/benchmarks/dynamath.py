"""DynaMath: three seed questions in two of its ten draws."""

from tests.contracts.benchmarks import Row
from tests.contracts.benchmarks.pictures import held, write_table

KINDS = (
    ("Is the blue bar higher? Choices: (A) Yes (B) No ", "multiple choice", "B"),
    ("What is the period of this function?", "float", "2.0944"),
    ("Which month is the hottest?", "text", "May"),
)


def write(root):
    for draw in (2, 10):
        rows = [
            {
                "id": str(seed),
                "question": question,
                "image": f"image{seed}.png",
                "decoded_image": held(draw * 10 + seed),
                "ground_truth": answer,
                "answer_type": kind,
                "subject": "statistics",
                "knowledge_level": "high school",
            }
            for seed, (question, kind, answer) in enumerate(KINDS, 1)
        ]
        write_table(root / "data" / f"sample{draw}-00000-of-{draw:05d}.parquet", rows)


ROW = Row(
    write,
    {"all": ("1-2", "2-2", "1-10", "2-10")},
    {"all": dict.fromkeys(("3-2", "3-10"), "only a judge could tell")},
)
