"""Perception Test (arXiv 2305.13786): 19,140 questions with three options, of its validation set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from merit_opt.data.benchmarks.benchmark import (
    DIRECTLY,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    choosing,
    odd,
    values,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Sample
from merit_opt.data.tables import Row, read_json, read_rows
from merit_opt.errors import UserError

CUTS = "**/cut_frame_mapping_valid.json"
NO_RATE = "its video must be cut at a frame, and only mc_question_valid.json tells its frame rate"


@dataclass(frozen=True, slots=True)
class Shown:
    """How much of a video may be shown; in some, what comes later gives the answer away.

    Attributes:
        kind: `cut` or `whole`.
        end: Seconds to the cut; None where it is not cut, or its frame rate is not known.
    """

    kind: str
    end: float | None = None


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a question, of the authors' file or of the hub's table."""
    cuts = _cuts(copy)
    tables = ("**/mc_question_valid.json", "mc_question_val/validation-*.parquet")
    for path in copy.find(*tables):
        if path.suffix == ".json":
            for video, entry in read_json(path).items():
                shown = _shown(cuts, video, entry.get("metadata", {}).get("frame_rate"))
                for row in entry["mc_question"]:
                    yield _sample(copy, video, row["id"], row, shown)
        else:
            for row in read_rows(path):
                video = row["video_name"]
                shown = _shown(cuts, video, None)
                yield _sample(copy, video, row["question_id"], row, shown)


def _cuts(copy: DatasetCopy) -> Mapping[str, int]:
    """Video -> the first frame that is not shown, or -1.

    Raises:
        UserError: The table is not there.
    """
    paths = copy.optional(CUTS)
    if not paths:
        raise UserError(
            f"{copy.root} holds no cut_frame_mapping_valid.json, without which the ends of some "
            "videos show the answer: put it there, from the authors' repository "
            "google-deepmind/perception_test"
        )
    return read_json(paths[0])


def _shown(cuts: Mapping[str, int], video: str, rate: float | None) -> Shown:
    """The end lies half a frame before the first one that is not shown: rates are rounded."""
    if (frame := int(cuts.get(video, -1))) <= 0:
        return Shown("whole")
    return Shown("cut", None if rate is None else (frame - 0.5) / rate)


def _sample(
    copy: DatasetCopy, video: str, number: object, row: Row, shown: Shown
) -> Sample | LeftOut:
    name = f"{video}_{number}"
    options = tuple(str(option).strip() for option in row["options"])
    answer = int(row["answer_id"])
    if shown.kind == "cut" and shown.end is None:
        return LeftOut(name, NO_RATE)
    if not 0 <= answer < len(options):
        return LeftOut(name, NO_GOLD)
    fields = values(row, ("reasoning", "area"))
    return Sample(
        id=name,
        media=(copy.video(f"videos/{video}", end=shown.end),),
        question=row["question"].strip(),
        options=options,
        answer=answer,
        categories=(*fields, ("tag", ", ".join(row["tag"])), ("cut", shown.kind)),
        group_id=video,
        flags=odd(options),
    )


PERCEPTIONTEST = Benchmark(
    name="perceptiontest",
    repo="lmms-lab/PerceptionTest_Val",
    revision=None,
    files={"val": ("mc_question_val/*.parquet", "*.zip")},
    read=read,
    published={"val": 19140},
    role_field="reasoning",
    aggregates={"val": MICRO},
    licence="CC-BY-4.0",
    prompts={
        "lmms": choosing(
            "perceptiontest/lmms/1",
            f"\n{DIRECTLY}",
        )
    },
)
