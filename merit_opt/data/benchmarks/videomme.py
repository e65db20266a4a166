"""Video-MME (arXiv 2405.21075): 2,700 questions on 900 videos, with subtitles or without."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    DIRECTLY,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    letter_index,
    odd,
    unlettered,
    values,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, heard, lettered
from merit_opt.data.sample import Cue, Sample

FIELDS = ("task_type", "duration", "domain", "sub_category")
SELECT = "Select the best answer to the following multiple-choice question based on the video"
RESPOND = "Respond with only the letter (A, B, C, or D) of the correct option."


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the gold letter is the index of the option."""
    for row in copy.rows("videomme/test-*.parquet", "test-*.parquet"):
        options, video = unlettered(row["options"]), row["videoID"]
        answer = letter_index(row["answer"], options)
        if answer is None:
            yield LeftOut(row["question_id"], NO_GOLD)
            continue
        yield Sample(
            id=row["question_id"],
            media=(copy.video(f"data/{video}"),),
            question=row["question"],
            options=options,
            answer=answer,
            categories=values(row, FIELDS),
            group_id=video,
            subtitles=copy.subtitles(f"subtitle/{video}.srt") if variant == "subtitles" else (),
            flags=odd(options),
        )


def _lmms(sample: Sample, _: tuple[Cue, ...]) -> str:
    return (
        f"{SELECT} and the subtitles. {RESPOND}\n{sample.question}\n{lettered(sample)}\n"
        f"\n{DIRECTLY}"
    )


def _lmms_subtitles(sample: Sample, cues: tuple[Cue, ...]) -> str:
    return (
        f"This video's subtitles are listed below: \n{heard(cues) or 'No subtitles available'}\n"
        f"{SELECT} and the subtitles. {RESPOND}\n{sample.question}\n{lettered(sample)}\n"
        "The best answer is:"
    )


def _vlmevalkit(sample: Sample, _: tuple[Cue, ...]) -> str:
    return (
        f"\nThese are the frames of a video. {SELECT}. {RESPOND}\n"
        f"Question: {sample.question}\n{lettered(sample)}\nAnswer: "
    )


def _vlmevalkit_subtitles(sample: Sample, cues: tuple[Cue, ...]) -> str:
    return (
        "\nThese are the frames of a video. This video's subtitles are listed below:\n"
        f"{heard(cues)}\n{SELECT}. {RESPOND}\n"
        f"Question: {sample.question}\n{lettered(sample)}\nAnswer: "
    )


VIDEOMME = Benchmark(
    name="videomme",
    repo="lmms-eval/Video-MME",
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
    prompts={
        "lmms": Prompt("videomme/lmms/1", _lmms),
        "subtitles/lmms": Prompt("videomme/subtitles/lmms/1", _lmms_subtitles),
        "vlmevalkit": Prompt("videomme/vlmevalkit/1", _vlmevalkit),
        "subtitles/vlmevalkit": Prompt("videomme/subtitles/vlmevalkit/1", _vlmevalkit_subtitles),
    },
)
