"""MathVerse (arXiv 2403.14624): 788 problems, each in five versions that show more and tell less."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import JUDGED, NO_GOLD, Benchmark, LeftOut, odd
from merit_opt.data.benchmarks.pictures import (
    NO_OPTIONS,
    beside,
    gold_index,
    picture,
    plain_number,
    split_options,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import LETTERS, Cue, Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row

SHOWN = "According to the question shown in the image, please directly answer the question"
FIELDS = ("subject", "subfield", "source")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """The hub's table, or the file beside `images`.

    Where question and options are in the picture alone, there are as many options as in the
    problem's other versions, called by their letters.
    """
    rows = copy.rows(f"{variant}.parquet", f"{variant}.json", f"data/{variant}.json")
    told = {row["problem_index"]: row["question"] for row in rows if row["question"]}
    for row in rows:
        yield _sample(copy, row, split_options(told.get(row["problem_index"], "")))


def _sample(copy: DatasetCopy, row: Row, told: tuple[str, tuple[str, ...]]) -> Sample | LeftOut:
    sample_id, shown = row["sample_index"], not row["question"]
    question, options, answer = row["question"].strip(), (), plain_number(row["answer"])
    if row["question_type"] == "multi-choice":
        question, options = ("", told[1]) if shown else split_options(question)
        if not all(options) or not options:
            return LeftOut(sample_id, NO_OPTIONS)
        answer = gold_index(row["answer"], options)
        options = tuple(LETTERS[: len(options)]) if shown else options
    if answer is None:
        return LeftOut(sample_id, NO_GOLD if options else JUDGED)
    names = beside(_name(row), "images", "data/images")
    return Sample(
        id=sample_id,
        media=(picture(copy, row, "image", *names),),
        question=SHOWN if shown else question,
        options=options,
        answer=answer,
        categories=(
            ("problem_version", row["problem_version"]),
            *((field, row["metadata"][field]) for field in FIELDS),
            ("question_type", row["question_type"]),
        ),
        group_id=row["problem_index"],
        flags=odd(options),
    )


def _name(row: Row) -> str:
    held = row["image"]
    return held if isinstance(held, str) else held.get("path") or f"{row['sample_index']}.png"


def _official(sample: Sample, cues: tuple[Cue, ...]) -> str:
    del cues
    wanted = "the final value, e.g., 1, 2.5, 300."
    if sample.options:
        wanted = "the correct option letter, e.g., A, B, C, D."
    if sample.question == SHOWN:
        return f"{SHOWN} and provide {wanted}"
    choices = f"\nChoices:\n{lettered(sample, '{letter}:{option}')}" if sample.options else ""
    asked = f"Please directly answer the question and provide {wanted}"
    return f"{asked}\nQuestion: {sample.question}{choices}"


MATHVERSE = Benchmark(
    name="mathverse",
    repo="AI4Math/MathVerse",
    revision="268dfc55b62296be3bdf6406d6dea07bd06a7d64",
    files={"testmini": ("testmini.parquet",)},
    read=read,
    published={"testmini": 3940},
    role_field="problem_version",
    aggregates={
        "testmini": (
            Aggregate("accuracy", "mean"),
            Aggregate("mean of versions", "mean_of_means", by="problem_version"),
        )
    },
    prompts={"official": Prompt("mathverse/official/1", _official)},
    licence="MIT",
)
