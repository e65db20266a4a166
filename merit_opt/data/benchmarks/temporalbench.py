"""TemporalBench (arXiv 2410.10818): which of two captions, alike but for one detail of time."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    DIRECTLY,
    NO_GOLD,
    Benchmark,
    LeftOut,
    choosing,
    letter_index,
    odd,
)
from merit_opt.data.benchmarks.inline import inline_options
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row

VARIANTS = ("short_qa", "long_qa")
REPORTED = (
    Aggregate("Binary Accuracy", "mean"),
    Aggregate("Multiple Binary Accuracy", "all_right", by="video"),
)


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the options stand in the question."""
    table = f"temporalbench_{variant}.json"
    for row in copy.rows(table, f"**/{table}", f"**/test_{variant}-*.parquet"):
        yield _sample(copy, row)


def _sample(copy: DatasetCopy, row: Row) -> Sample | LeftOut:
    question, options = inline_options(row["question"])
    answer = letter_index(row["GT"].strip().upper(), options)
    if answer is None:
        return LeftOut(row["idx"], NO_GOLD)
    video = row["video_name"]
    return Sample(
        id=row["idx"],
        media=(copy.media(video),),
        question=question,
        options=options,
        answer=answer,
        categories=(
            ("category", str(row.get("category") or "")),
            ("dataset", str(row.get("source_dataset") or row.get("dataset") or "")),
            ("video", video),
        ),
        group_id=video,
        flags=odd(options),
    )


TEMPORALBENCH = Benchmark(
    name="temporalbench",
    repo="microsoft/TemporalBench",
    revision=None,
    files={
        "short_qa": ("temporalbench_short_qa.json", "short_video.zip"),
        "long_qa": ("temporalbench_long_qa.json", "long_video*"),
    },
    read=read,
    published={"short_qa": 9867},
    role_field="category",
    aggregates=dict.fromkeys(VARIANTS, REPORTED),
    licence="research only; gated",
    prompts={
        "lmms": choosing("temporalbench/lmms/1", f"\n{DIRECTLY}"),
        "official": choosing("temporalbench/official/1", f"\n{DIRECTLY}"),
    },
)
