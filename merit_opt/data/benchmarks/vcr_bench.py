"""VCR-Bench (arXiv 2504.07956): chains of thought on 859 videos; here its questions with options."""

import ast
from collections.abc import Iterator, Mapping

from merit_opt.data.benchmarks.benchmark import (
    JUDGED,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    letter_index,
    odd,
    values,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import LETTERS, Sample
from merit_opt.data.tables import Row

VIDEOS = "v1/videos/"


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a question with options, of the authors' JSON or of the table made of it."""
    for row in copy.rows("**/meta_info_video.json", "VCR-Bench.tsv", "**/VCR-Bench.tsv"):
        yield _sample(copy, row)


def _sample(copy: DatasetCopy, row: Row) -> Sample | LeftOut:
    name = str(row["id"])
    if str(row["multiple-choice"]) != "True":
        return LeftOut(name, JUDGED)
    options = _options(row["choices"])
    answer = letter_index(row["answer"].strip(), options)
    if answer is None:
        return LeftOut(name, NO_GOLD)
    video = row["video_path"].removeprefix("./").removeprefix(VIDEOS)
    return Sample(
        id=name,
        media=(copy.media(f"{VIDEOS}{video}", video),),
        question=row["question"].partition(f"A. {options[0]}")[0].strip(),
        options=options,
        answer=answer,
        categories=values(row, ("dimension", "duration")),
        group_id=video,
        flags=odd(options),
    )


def _options(choices: Mapping[str, str] | str) -> tuple[str, ...]:
    """Those that are not empty; a table holds the mapping as text."""
    given = _mapping(choices) if isinstance(choices, str) else choices
    texts = (given.get(letter, "").strip() for letter in LETTERS)
    return tuple(text for text in texts if text)


def _mapping(text: str) -> Mapping[str, str]:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"choices are no mapping: {text[:80]!r}") from error


VCR_BENCH = Benchmark(
    name="vcr_bench",
    repo="VLM-Reasoning/VCR-Bench",
    revision=None,
    files={"choices": ("v1/videos/meta_info_video.json", "v1/videos/video.zip")},
    read=read,
    published={"choices": 1034},
    role_field="dimension",
    aggregates={"choices": MICRO},
    licence="none stated",
)
