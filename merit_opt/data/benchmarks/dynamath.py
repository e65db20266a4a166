"""DynaMath (arXiv 2411.00836): 501 seed questions, each drawn ten times with other numbers."""

import re
from collections.abc import Iterator
from pathlib import Path

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
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row, read_rows

TOLERANCE = 0.001


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """A table for each of the ten draws; numbers have the tolerance of the authors' score."""
    del variant
    for path in sorted(copy.find("data/sample*.parquet", "sample*.parquet"), key=_draw):
        for row in read_rows(path):
            yield _sample(copy, row, str(_draw(path)))


def _draw(path: Path) -> int:
    found = re.match(r"sample(?:_variant)?(\d+)", path.name)
    return int(found[1]) if found is not None else 0


def _sample(copy: DatasetCopy, row: Row, draw: str) -> Sample | LeftOut:
    seed, kind, gold = str(row["id"]), row["answer_type"], str(row["ground_truth"])
    sample_id, question, options, answer = f"{seed}-{draw}", row["question"].strip(), (), None
    if kind == "multiple choice":
        question, options = split_options(question)
        if not all(options) or not options:
            return LeftOut(sample_id, NO_OPTIONS)
        answer = gold_index(gold, options)
    elif kind != "text":
        answer = plain_number(gold, TOLERANCE)
    if answer is None:
        return LeftOut(sample_id, NO_GOLD if options else JUDGED)
    column = "decoded_image" if row.get("decoded_image") is not None else "image"
    named = row["image"] if isinstance(row["image"], str) else f"{sample_id}.png"
    return Sample(
        id=sample_id,
        media=(picture(copy, row, column, *beside(named, "data")),),
        question=question,
        options=options,
        answer=answer,
        categories=(
            ("subject", row["subject"]),
            ("knowledge_level", row["knowledge_level"]),
            ("answer_type", kind),
            ("seed question", seed),
            ("draw", draw),
        ),
        group_id=seed,
        flags=odd(options),
    )


DYNAMATH = Benchmark(
    name="dynamath",
    repo="DynaMath/DynaMath_Sample",
    revision=None,
    files={"all": ("data/sample*.parquet",)},
    read=read,
    published={"all": 5010},
    role_field="subject",
    aggregates={
        "all": (
            Aggregate("average", "mean"),
            Aggregate("worst case", "all_right", by="seed question"),
        )
    },
    licence="Apache-2.0",
)
