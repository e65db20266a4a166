"""MMVU (arXiv 2501.12380): expert questions on videos of 27 subjects; those with options alone."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    JUDGED,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    odd,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Sample


def read(copy: DatasetCopy, _: str) -> Iterator[Sample | LeftOut]:
    """One sample a row with options; the gold letter names the option."""
    for row in copy.rows("validation.json", "data/validation.json", "**/validation-*.parquet"):
        letters = sorted(letter for letter, text in row["choices"].items() if text)
        if row["question_type"] != "multiple-choice":
            yield LeftOut(row["id"], JUDGED)
        elif row["answer"] not in letters:
            yield LeftOut(row["id"], NO_GOLD)
        else:
            name = row.get("video_path") or row["video"].split("/resolve/main/")[-1]
            options = tuple(row["choices"][letter] for letter in letters)
            yield Sample(
                id=row["id"],
                media=(copy.media(name),),
                question=row["question"],
                options=options,
                answer=letters.index(row["answer"]),
                categories=(("subject", row["metadata"]["subject"]),),
                group_id=name,
                flags=odd(options),
            )


DIRECTLY = "Do not generate any intermediate reasoning process. Answer directly with the option"


def _lmms(sample: Sample, _: tuple[Cue, ...]) -> str:
    return (
        f"\nQuestion:{sample.question}\n{lettered(sample, '{letter}: {option}')}\n"
        f"Visual Information: processed video\n{DIRECTLY} letter from the\ngiven choices.\n"
    )


def _official(sample: Sample, _: tuple[Cue, ...]) -> str:
    return (
        f"\nQuestion: {sample.question}\n{lettered(sample, '{letter}: {option}')}\n\n"
        f"{DIRECTLY} letter from the given choices.\n"
    )


MMVU = Benchmark(
    name="mmvu",
    repo="yale-nlp/MMVU",
    revision=None,
    files={"validation": ("validation.json", "videos/*")},
    read=read,
    published={"validation": 1000},
    role_field="subject",
    aggregates={"validation": MICRO},
    licence="see its page on the hub; the videos are from YouTube under Creative Commons",
    prompts={
        "lmms": Prompt("mmvu/lmms/1", _lmms),
        "official": Prompt("mmvu/official/1", _official),
    },
)
