"""Video-MME (arXiv 2405.21075): 2,700 questions on 900 videos, with subtitles or without."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import MICRO, Benchmark, LeftOut, odd, unlettered
from merit_opt.data.copy import DatasetCopy
from merit_opt.data.sample import LETTERS, Sample

FIELDS = ("task_type", "duration", "domain", "sub_category")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the gold letter is the index of the option."""
    for row in copy.rows("videomme/test-*.parquet", "**/test-*.parquet"):
        options = unlettered(row["options"])
        video = row["videoID"]
        subtitles = ()
        if variant == "subtitles":
            subtitles = copy.subtitles(f"subtitle/{video}.srt")
        yield Sample(
            id=row["question_id"],
            media=(copy.video(f"data/{video}"),),
            question=row["question"],
            options=options,
            answer=LETTERS.index(row["answer"]),
            categories=tuple((field, row[field]) for field in FIELDS),
            group_id=video,
            subtitles=subtitles,
            flags=odd(options),
        )


VIDEOMME = Benchmark(
    name="videomme",
    repo="lmms-lab/Video-MME",
    revision=None,
    files={
        "plain": ("videomme/*.parquet", "videos_chunked_*.zip"),
        "subtitles": ("videomme/*.parquet", "videos_chunked_*.zip", "subtitle.zip"),
    },
    read=read,
    published={"plain": 2700, "subtitles": 2700},
    role_field="task_type",
    aggregates={"plain": MICRO, "subtitles": MICRO},
    licence="research only; not to be redistributed",
)
