"""Video-Holmes (arXiv 2505.21374): 1,837 questions on 270 suspense short films."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import MICRO, NO_GOLD, Benchmark, LeftOut, odd
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import LETTERS, Cue, Sample

FOLDERS = ("videos_cropped", "videos", "video")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the gold letter names the option."""
    for row in copy.rows(f"{variant}_Video-Holmes.json"):
        video = row["video ID"]
        sample_id = f"{video}/{row['Question ID']}"
        letters = sorted(row["Options"])
        options = tuple(row["Options"][letter] for letter in letters)
        if row["Answer"] not in letters:
            yield LeftOut(sample_id, NO_GOLD)
            continue
        yield Sample(
            id=sample_id,
            media=(copy.video(*(f"{folder}/{video}" for folder in FOLDERS)),),
            question=row["Question"],
            options=options,
            answer=letters.index(row["Answer"]),
            categories=(("Question Type", row["Question Type"]),),
            group_id=video,
            flags=odd(options),
        )


def _lmms(sample: Sample, _: tuple[Cue, ...]) -> str:
    return (
        f"Question: {sample.question}\n{lettered(sample)}\n"
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, D, E, or F) of the correct option."
    )


def _official(sample: Sample, _: tuple[Cue, ...]) -> str:
    pairs = zip(LETTERS, sample.options, strict=False)
    options = ", ".join(f"{letter}: {option}" for letter, option in pairs)
    return (
        "Based on the given video, reason and answer the single-choice question. Provide your "
        "reasoning between the <think> and </think> tags, and then give your final answer between "
        f"the <answer> and </answer> tags. The question is: {sample.question}. The options are: "
        f"{options}. Your answer:"
    )


VIDEO_HOLMES = Benchmark(
    name="video_holmes",
    repo="TencentARC/Video-Holmes",
    revision=None,
    files={"test": ("test_Video-Holmes.json", "videos.zip")},
    read=read,
    published={"test": 1837},
    role_field="Question Type",
    aggregates={"test": MICRO},
    licence="Apache 2.0, academic use; the films belong to their owners",
    prompts={
        "lmms": Prompt("video_holmes/lmms/1", _lmms),
        "official": Prompt("video_holmes/official/1", _official),
    },
)
