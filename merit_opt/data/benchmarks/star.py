"""STAR (NeurIPS 2021): 7,098 questions of its validation set on parts of Charades videos."""

from collections.abc import Iterator, Mapping
from typing import Any

from merit_opt.data.benchmarks.benchmark import (
    NO_GOLD,
    Benchmark,
    LeftOut,
    answer_index,
    odd,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the situations, which give answers away, are not looked at."""
    for row in copy.rows("STAR_val.json", "**/STAR_val.json"):
        yield _sample(copy, row)


def _sample(copy: DatasetCopy, row: Row) -> Sample | LeftOut:
    name = row["question_id"]
    category, template, _ = name.split("_", 2)
    options = tuple(choice["choice"].strip() for choice in sorted(row["choices"], key=_order))
    answer = answer_index(row["answer"].strip(), options)
    if answer is None:
        return LeftOut(name, NO_GOLD)
    video = f"Charades_v1_480/{row['video_id']}"
    return Sample(
        id=name,
        media=(copy.video(video, start=float(row["start"]), end=float(row["end"])),),
        question=row["question"].strip(),
        options=options,
        answer=answer,
        categories=(("category", category), ("template", template)),
        group_id=video,
        flags=odd(options),
    )


def _order(choice: Mapping[str, Any]) -> int:
    return choice["choice_id"]


STAR = Benchmark(
    name="star",
    repo=None,
    revision=None,
    files={"val": ()},
    read=read,
    published={"val": 7098},
    role_field="category",
    aggregates={
        "val": (
            Aggregate("accuracy", "mean"),
            Aggregate("Mean", "mean_of_means", by="category"),
        )
    },
    licence="Charades' licence for the videos: not commercial",
)
