"""MMStar (arXiv 2403.20330): 1,500 questions that cannot be answered without the picture."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import NO_GOLD, Benchmark, LeftOut, odd
from merit_opt.data.benchmarks.pictures import (
    NO_OPTIONS,
    gold_index,
    picture,
    split_options,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Sample
from merit_opt.data.suite import Aggregate


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """The hub's table, where options are part of the question's text."""
    del variant
    for row in copy.rows("mmstar.parquet", "**/*.parquet"):
        question, options = split_options(row["question"])
        answer = gold_index(row["answer"], options)
        if not all(options) or answer is None:
            yield LeftOut(str(row["index"]), NO_GOLD if all(options) and options else NO_OPTIONS)
            continue
        yield Sample(
            id=str(row["index"]),
            media=(picture(copy, row, "image", row["meta_info"]["image_path"]),),
            question=question,
            options=options,
            answer=answer,
            categories=(
                ("category", row["category"]),
                ("l2_category", row["l2_category"]),
                ("source", row["meta_info"]["source"]),
            ),
            group_id=row["meta_info"]["image_path"],
            flags=odd(options),
        )


def _vlmevalkit(sample: Sample, cues: tuple[Cue, ...]) -> str:
    del cues
    return (
        f"Question: {sample.question}\nOptions:\n{lettered(sample)}\n"
        "Please select the correct answer from the options above. \n"
    )


MMSTAR = Benchmark(
    name="mmstar",
    repo="Lin-Chen/MMStar",
    revision="bc98d668301da7b14f648724866e57302778ab27",
    files={"val": ("mmstar.parquet",)},
    read=read,
    published={"val": 1500},
    role_field="category",
    aggregates={
        "val": (
            Aggregate("accuracy", "mean"),
            Aggregate("mean of capabilities", "mean_of_means", by="category"),
            Aggregate("mean of axes", "mean_of_means", by="l2_category"),
        )
    },
    prompts={"vlmevalkit": Prompt("mmstar/vlmevalkit/1", _vlmevalkit)},
    licence="not stated",
)
