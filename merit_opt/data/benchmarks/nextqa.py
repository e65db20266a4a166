"""NExT-QA (CVPR 2021): short videos, five options; causal, temporal and descriptive questions."""

from collections.abc import Iterator, Mapping

from merit_opt.data.benchmarks.benchmark import (
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    choosing,
    odd,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Sample
from merit_opt.data.tables import Row, read_json

TABLES = {
    "val": ("dataset/nextqa/val.csv", "**/val.csv"),
    "test": ("MC/test-*.parquet", "dataset/nextqa/test.csv", "**/test.csv"),
}


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the answer is an index."""
    folders = _folders(copy)
    for row in copy.rows(*TABLES[variant]):
        yield _sample(copy, row, folders)


def _folders(copy: DatasetCopy) -> Mapping[str, str]:
    """Video -> where VidOR keeps it, where the authors' map is there."""
    maps = copy.optional("**/map_vid_vidorID.json")
    return read_json(maps[0]) if maps else {}


def _sample(copy: DatasetCopy, row: Row, folders: Mapping[str, str]) -> Sample | LeftOut:
    video = str(row["video"])
    name = f"{video}_{row['qid']}"
    options = tuple(str(row[f"a{i}"]).strip() for i in range(5))
    answer = int(row["answer"])
    if not 0 <= answer < len(options):
        return LeftOut(name, NO_GOLD)
    names = (folders.get(video, video), video)
    return Sample(
        id=name,
        media=(copy.media(*(f"{at}/{n}.mp4" for at in ("NExTVideo", "videos") for n in names)),),
        question=row["question"].strip(),
        options=options,
        answer=answer,
        categories=(("type", row["type"]),),
        group_id=video,
        flags=odd(options),
    )


NEXTQA = Benchmark(
    name="nextqa",
    repo="lmms-lab/NExTQA",
    revision=None,
    files={"val": (), "test": ("MC/test-*.parquet", "videos.zip")},
    read=read,
    published={"val": 4996, "test": 8564},
    role_field="type",
    aggregates={"val": MICRO, "test": MICRO},
    licence="MIT (annotations)",
    prompts={"lmms": choosing("nextqa/lmms/1", "")},
)
