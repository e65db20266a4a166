"""Vinoground (arXiv 2410.02763): 500 pairs of clips that differ in the order of events alone."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    NO_GOLD,
    Benchmark,
    LeftOut,
    letter_index,
    odd,
    unlettered,
    values,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row

KINDS = {"text": ("text",), "video": ("video",), "group": ("text", "video")}
FOLDERS = {"text": "vinoground_videos", "video": "vinoground_videos_concated"}
TEXT = Aggregate("text score", "all_right", by="pair", where=(("kind", "text"),))
VIDEO = Aggregate("video score", "all_right", by="pair", where=(("kind", "video"),))
GROUP = Aggregate("group score", "all_right", by="pair")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """Two samples a pair: `text` picks a clip's caption, `video` a caption's clip of two in a row."""
    pairs = {str(row["index"]): row for row in copy.rows("vinoground.csv")}
    for kind in KINDS[variant]:
        name = f"vinoground_{kind}score.json"
        for row in copy.rows(name, f"{FOLDERS[kind]}/{name}"):
            yield _sample(copy, row, kind, pairs[row["idx"].split("_")[0]])


def _sample(copy: DatasetCopy, row: Row, kind: str, pair: Row) -> Sample | LeftOut:
    sample_id = f"{row['idx']}_{kind}"
    question, given, after = _parts(row["question"])
    options = unlettered(given)
    answer = letter_index(row["GT"].strip().upper(), options)
    if answer is None or options == given:
        return LeftOut(sample_id, NO_GOLD)
    return Sample(
        id=sample_id,
        media=(copy.media(row["video_name"]),),
        question=question,
        options=options,
        answer=answer,
        categories=(
            *values(pair, ("major", "minor")),
            ("kind", kind),
            ("pair", str(pair["index"])),
            ("after", after),
        ),
        group_id=str(pair["index"]),
        flags=odd(options),
    )


def _parts(text: str) -> tuple[str, tuple[str, ...], str]:
    """What stands before the first two lines that begin with A. and B., these lines, and the rest."""
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.startswith("A.")), len(lines))
    return "\n".join(lines[:first]), tuple(lines[first : first + 2]), "\n".join(lines[first + 2 :])


def _official(sample: Sample, _: tuple[Cue, ...]) -> str:
    after = sample.category("after")
    return "\n".join([sample.question, lettered(sample), *([after] if after else ())])


def _lmms(sample: Sample, cues: tuple[Cue, ...]) -> str:
    return f"{_official(sample, cues)}\nPlease only output one English character."


TABLES = ("vinoground.csv", "vinoground_*score.json")

VINOGROUND = Benchmark(
    name="vinoground",
    repo="HanSolo9682/Vinoground",
    revision=None,
    files={
        variant: (*TABLES, *(f"{FOLDERS[kind]}.zip" for kind in kinds))
        for variant, kinds in KINDS.items()
    },
    read=read,
    published={"text": 1000, "video": 1000, "group": 2000},
    role_field="major",
    aggregates={"text": (TEXT,), "video": (VIDEO,), "group": (TEXT, VIDEO, GROUP)},
    licence="see its page on the hub; the clips are from YouTube",
    prompts={
        "lmms": Prompt("vinoground/lmms/1", _lmms),
        "official": Prompt("vinoground/official/1", _official),
    },
)
