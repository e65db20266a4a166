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
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row, read_json, read_rows

DISCIPLINES = ("Art", "Business", "Engineering", "Humanities", "Medicine", "Science")
TRACKS = ("Perception", "Comprehension", "Adaptation")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a question with options; the questions of `adaptation` may be open.

    A lecture has one id in every track: where all are asked, the track's name is put before it.
    """
    for track in TRACKS if variant == "all" else (variant.capitalize(),):
        before = f"{track}/" if variant == "all" else ""
        for row in _rows(copy, track):
            yield _sample(copy, row, track, f"{before}{row['id']}")


def _rows(copy: DatasetCopy, track: str) -> Iterator[Row]:
    for path in copy.find(f"{track}/test-*.parquet", f"**/{track.lower()}_video.json"):
        yield from (
            read_rows(path) if path.suffix == ".parquet" else read_json(path)[track].values()
        )


def _sample(copy: DatasetCopy, row: Row, track: str, sample_id: str) -> Sample | LeftOut:
    lecture = row["id"]
    kind = row.get("question_type")
    if track == "Adaptation" and kind != "multiple-choice":
        return LeftOut(sample_id, JUDGED)
    options = tuple(str(option).strip() for option in row["options"])
    answer = letter_index(row["answer"], options)
    if answer is None:
        return LeftOut(sample_id, NO_GOLD)
    return Sample(
        id=sample_id,
        media=(copy.media(*(f"{folder}/{lecture}.mp4" for folder in DISCIPLINES)),),
        question=row["question"].strip(),
        options=options,
        answer=answer,
        categories=(("track", track), ("subject", "_".join(lecture.split("_")[1:-1]))),
        group_id=lecture,
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


OF_TRACKS = (*MICRO, Aggregate("mean of tracks", "mean_of_means", by="track"))

VIDEO_MMMU = Benchmark(
    name="video_mmmu",
    repo="lmms-lab/VideoMMMU",
    revision=None,
    files={
        **{t.lower(): (f"{t}/*.parquet", "*.zip", "*.mp4") for t in TRACKS},
        "all": ("*.parquet", "*.zip", "*.mp4"),
    },
    read=read,
    published={**{t.lower(): 300 for t in TRACKS}, "all": 900},
    role_field="track",
    aggregates={**{t.lower(): MICRO for t in TRACKS}, "all": OF_TRACKS},
    licence="none stated",
    prompts={"lmms": Prompt("video_mmmu/lmms/1", _lmms)},
)
