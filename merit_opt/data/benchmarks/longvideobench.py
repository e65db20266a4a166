"""LongVideoBench (arXiv 2407.15754): 1,337 questions of its validation set, many on subtitles."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from merit_opt.data.benchmarks.benchmark import (
    DIRECTLY,
    HIDDEN,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    choosing,
    odd,
    values,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Cue, Flag, Sample
from merit_opt.data.tables import Row

FIELDS = ("question_category", "duration_group", "topic_category", "type")
RELATION = ("E3E", "O3O", "T3E", "T3O", "SSS", "SOS", "SAA", "TOS", "TAA")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row of the validation set."""
    tables = ("lvb_val.json", "**/lvb_val.json", "**/validation-*.parquet")
    for row in copy.rows(*tables):
        if row.get("correct_choice") in (None, -1):
            yield LeftOut(row["id"], HIDDEN)
        else:
            yield _sample(copy, row, _cues(copy, row) if variant == "subtitles" else ())


def _cues(copy: DatasetCopy, row: Row) -> tuple[Cue, ...]:
    offset = float(row["starting_timestamp_for_subtitles"])
    return copy.subtitles(f"subtitles/{row['subtitle_path']}", offset=offset)


def _sample(copy: DatasetCopy, row: Row, cues: tuple[Cue, ...]) -> Sample | LeftOut:
    options = _options(row)
    if row["correct_choice"] >= len(options):
        return LeftOut(row["id"], NO_GOLD)
    asked = row["question_category"]
    level = row.get("level") or ("L2-Relation" if asked in RELATION else "L1-Perception")
    missing: tuple[Flag, ...] = ("needs subtitles",) if asked[0] == "T" and not cues else ()
    return Sample(
        id=row["id"],
        media=(copy.video(f"videos/{PurePosixPath(row['video_path']).with_suffix('')}"),),
        question=row["question"].strip(),
        options=options,
        answer=row["correct_choice"],
        categories=(("level", level), *values(row, FIELDS)),
        group_id=row["video_path"],
        subtitles=cues,
        flags=odd(options) + missing,
    )


def _options(row: Row) -> tuple[str, ...]:
    """`candidates` of the JSON file, or the columns of the table, which are N/A where unused."""
    given = row["candidates"] if "candidates" in row else [row[f"option{i}"] for i in range(5)]
    return tuple(str(option).strip() for option in given if option != "N/A")


LMMS = choosing("longvideobench/lmms/1", f"\n{DIRECTLY}\n")
VLMEVALKIT = choosing("longvideobench/vlmevalkit/1", f"\n{DIRECTLY}")

LONGVIDEOBENCH = Benchmark(
    name="longvideobench",
    repo="longvideobench/LongVideoBench",
    revision=None,
    files={
        "plain": ("lvb_val.json", "videos.tar.part.*"),
        "subtitles": ("lvb_val.json", "videos.tar.part.*", "subtitles.tar"),
    },
    read=read,
    published={"plain": 1337, "subtitles": 1337},
    role_field="level",
    aggregates={"plain": MICRO, "subtitles": MICRO},
    licence="CC-BY-NC-SA-4.0; not commercial",
    prompts={
        "lmms": LMMS,
        "vlmevalkit": VLMEVALKIT,
        "subtitles/lmms": replace(
            LMMS, name="longvideobench/lmms-interleaved/1", interleaved=True
        ),
        "subtitles/vlmevalkit": replace(
            VLMEVALKIT, name="longvideobench/vlmevalkit-interleaved/1", interleaved=True
        ),
    },
)
