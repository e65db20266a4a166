"""Video-TT (arXiv 2507.15028): short videos hard to see through, here with options."""

from collections import Counter
from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    letter_index,
    odd,
    values,
)
from merit_opt.data.benchmarks.inline import inline_options
from merit_opt.data.dataset_copy import VIDEO_SUFFIXES, DatasetCopy
from merit_opt.data.sample import Sample
from merit_opt.data.tables import Row

FOLDERS = ("Benchmark-AllVideos-LQ", "video")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row of the questions with options."""
    asked: Counter[str] = Counter()
    for row in copy.rows("data/test-*.parquet", "**/test-*.parquet"):
        asked[row["video_id"]] += 1
        number = asked[row["video_id"]]
        yield _sample(copy, row, str(row.get("qid") or f"{row['video_id']}-{number}"))


def _sample(copy: DatasetCopy, row: Row, name: str) -> Sample | LeftOut:
    options = inline_options(row["question_prompt"])[1]
    answer = letter_index(row["answer"].strip(), options)
    if answer is None:
        return LeftOut(name, NO_GOLD)
    video = row["video_id"]
    files = (f"{folder}/{video}{suffix}" for folder in FOLDERS for suffix in VIDEO_SUFFIXES)
    return Sample(
        id=name,
        media=(copy.media(*files),),
        question=row["question"].strip(),
        options=options,
        answer=answer,
        categories=values(row, ("capability", "duration")),
        group_id=video,
        flags=odd(options),
    )


VIDEO_TT = Benchmark(
    name="video_tt",
    repo="lmms-lab/video-tt",
    revision=None,
    files={"choices": ("data/test-*.parquet", "Benchmark-AllVideos-LQ*.zip")},
    read=read,
    published={},
    role_field="capability",
    aggregates={"choices": MICRO},
    licence="none stated",
)
