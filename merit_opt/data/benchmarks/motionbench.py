"""MotionBench (arXiv 2501.02955): fine motion; half of its answers are kept back."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    HIDDEN,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    choosing,
    letter_index,
    odd,
    values,
)
from merit_opt.data.benchmarks.inline import inline_options
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Sample
from merit_opt.data.tables import Row

FOLDERS = ("MotionBench/self-collected", "MotionBench/public-dataset", "self-collected",
           "public-dataset", "videos")  # fmt: skip
TABLE = "video_info.meta.jsonl"


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a question whose answer is given; a row is a video with its questions."""
    for row in copy.rows(TABLE, f"**/{TABLE}"):
        for asked in row["qa"]:
            yield _sample(copy, row, asked)


def _sample(copy: DatasetCopy, row: Row, asked: Row) -> Sample | LeftOut:
    name, gold = str(asked["uid"]), asked["answer"].strip().upper()
    if gold in ("", "NA"):
        return LeftOut(name, HIDDEN)
    question, options = inline_options(asked["question"])
    answer = letter_index(gold, options)
    if answer is None:
        return LeftOut(name, NO_GOLD)
    video = row["video_path"]
    return Sample(
        id=name,
        media=(copy.media(*(f"{folder}/{video}" for folder in FOLDERS), video),),
        question=question,
        options=options,
        answer=answer,
        categories=values(row, ("question_type", "video_type")),
        group_id=video,
        flags=odd(options),
    )


MOTIONBENCH = Benchmark(
    name="motionbench",
    repo="zai-org/MotionBench",
    revision="37e193ef23b55aa6876355a044c9cb7462779645",
    files={"dev": ("MotionBench/*",)},
    read=read,
    published={"dev": 8052},
    role_field="question_type",
    aggregates={"dev": MICRO},
    licence="not commercial; not to be redistributed",
    prompts={
        "lmms": choosing(
            "motionbench/lmms/1",
            "\nAnswer with only the option letter (A, B, C, D, E, or F).",
        )
    },
)
