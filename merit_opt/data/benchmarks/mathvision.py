"""MATH-Vision (arXiv 2402.14804): 3,040 problems of mathematics competitions, with pictures."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import JUDGED, MICRO, NO_GOLD, Benchmark, LeftOut, odd
from merit_opt.data.benchmarks.pictures import (
    beside,
    gold_index,
    picture,
    plain_number,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Sample

TOLERANCE = 0.005


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """The hub's table, or the JSON lines of the authors' repository.

    Numbers are right that are the same at two decimals, as in the authors' score.
    """
    names = (f"data/{variant}-*.parquet", f"data/{variant}.jsonl", f"{variant}.jsonl")
    for row in copy.rows(*names):
        options = tuple(option.strip() for option in row["options"] or ())
        gold = str(row["answer"])
        answer = gold_index(gold, options) if options else plain_number(gold, TOLERANCE)
        if answer is None:
            yield LeftOut(row["id"], NO_GOLD if options else JUDGED)
            continue
        yield Sample(
            id=row["id"],
            media=(picture(copy, row, "decoded_image", *beside(row["image"], "data")),),
            question=row["question"].strip(),
            options=options,
            answer=answer,
            categories=(("subject", row["subject"]), ("level", str(row["level"]))),
            group_id=row["image"],
            flags=odd(options),
        )


def _lmms(sample: Sample, cues: tuple[Cue, ...]) -> str:
    del cues
    asked = f'Please solve the problem step by step and put your answer in one "\\boxed{{}}".{sample.question}'
    if not sample.options:
        return asked
    return (
        f"{asked}\nChoices: {lettered(sample)}\n"
        "Answer the question with the option's letter from the given choices directly."
    )


MATHVISION = Benchmark(
    name="mathvision",
    repo="MathLLMs/MathVision",
    revision="14b5e86a95856c4231a056b82f658584eae2b309",
    files={"test": ("data/test-*.parquet",), "testmini": ("data/testmini-*.parquet",)},
    read=read,
    published={"test": 3040, "testmini": 304},
    role_field="subject",
    aggregates={"test": MICRO, "testmini": MICRO},
    prompts={"lmms": Prompt("mathvision/lmms/1", _lmms)},
    licence="MIT",
)
