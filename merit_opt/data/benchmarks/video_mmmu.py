"""Video-MMMU (arXiv 2501.13826): 300 lectures, each asked about in three ways."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    JUDGED,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    letter_index,
    odd,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Sample
from merit_opt.data.tables import Row, read_json, read_rows

DISCIPLINES = ("Art", "Business", "Engineering", "Humanities", "Medicine", "Science")
VARIANTS = ("perception", "comprehension", "adaptation")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a question with options; the questions of `adaptation` may be open."""
    for row in _rows(copy, variant):
        yield _sample(copy, row, variant.capitalize())


def _rows(copy: DatasetCopy, variant: str) -> Iterator[Row]:
    track = variant.capitalize()
    for path in copy.find(f"{track}/test-*.parquet", f"**/{variant}_video.json"):
        yield from (
            read_rows(path) if path.suffix == ".parquet" else read_json(path)[track].values()
        )


def _sample(copy: DatasetCopy, row: Row, track: str) -> Sample | LeftOut:
    name = row["id"]
    kind = row.get("question_type")
    if track == "Adaptation" and kind != "multiple-choice":
        return LeftOut(name, JUDGED)
    options = tuple(str(option).strip() for option in row["options"])
    answer = letter_index(row["answer"], options)
    if answer is None:
        return LeftOut(name, NO_GOLD)
    return Sample(
        id=name,
        media=(copy.media(*(f"{folder}/{name}.mp4" for folder in DISCIPLINES)),),
        question=row["question"].strip(),
        options=options,
        answer=answer,
        categories=(("track", track), ("subject", "_".join(name.split("_")[1:-1]))),
        group_id=name,
        flags=odd(options),
    )


def _lmms(sample: Sample, cues: tuple[Cue, ...]) -> str:
    asked = f"{sample.question}\n{lettered(sample)}"
    if sample.category("track") == "Adaptation":
        return (
            "You should watch and learn the video content. Then apply what you learned to answer "
            "the following multi-choice question. The image for this question is at the end of "
            f"the video.\n{asked}"
        )
    return f"{asked}\nPlease ignore the Quiz question in last frame of the video."


VIDEO_MMMU = Benchmark(
    name="video_mmmu",
    repo="lmms-lab/VideoMMMU",
    revision=None,
    files={v: (f"{v.capitalize()}/*.parquet", "*.zip", "*.mp4") for v in VARIANTS},
    read=read,
    published=dict.fromkeys(VARIANTS, 300),
    role_field="track",
    aggregates=dict.fromkeys(VARIANTS, MICRO),
    licence="none stated",
    prompts={"lmms": Prompt("video_mmmu/lmms/1", _lmms)},
)
