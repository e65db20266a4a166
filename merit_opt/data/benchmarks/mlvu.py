"""MLVU (arXiv 2406.04264): nine tasks on videos of minutes to hours; seven have options."""

from collections.abc import Iterator
from pathlib import Path

from merit_opt.data.benchmarks.benchmark import (
    JUDGED,
    NO_GOLD,
    Benchmark,
    LeftOut,
    answer_index,
    odd,
    values,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row, read_rows

ATTENTIVE = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, "
    "select the best option that accurately addresses the question."
)


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a row with options; files are called NUMBER_TASK.json."""
    for path in copy.find("MLVU/json/[1-9]_*.json", "json/[1-9]_*.json", "**/[1-9]_*.json"):
        for number, row in enumerate(read_rows(path)):
            yield _sample(copy, path, number, row)


def _sample(copy: DatasetCopy, path: Path, number: int, row: Row) -> Sample | LeftOut:
    task = path.stem.partition("_")[2]
    name = f"{task}/{number}"
    if not row.get("candidates"):
        return LeftOut(name, JUDGED)
    options = tuple(str(option).strip() for option in row["candidates"])
    answer = answer_index(str(row["answer"]).strip(), options)
    if answer is None:
        return LeftOut(name, NO_GOLD)
    video = f"{path.stem}/{row['video']}"
    return Sample(
        id=name,
        media=(copy.media(f"MLVU/video/{video}", f"video/{video}", video),),
        question=row["question"].strip(),
        options=options,
        answer=answer,
        categories=(("task", task), *values(row, ("question_type",))),
        group_id=video,
        flags=odd(options),
    )


def _bracketed(sample: Sample, cues: tuple[Cue, ...]) -> str:
    options = lettered(sample, "({letter}) {option}")
    return f"Question: {sample.question}\nOptions:\n{options}\nOnly give the best option."


MLVU = Benchmark(
    name="mlvu",
    repo="MLVU/MVLU",
    revision=None,
    files={"dev": ("MLVU/json/*.json", "MLVU/video/*")},
    read=read,
    published={"dev": 2593},
    role_field="task",
    aggregates={
        "dev": (
            Aggregate("M-Avg", "mean_of_means", by="task"),
            Aggregate("accuracy", "mean"),
        )
    },
    licence="CC-BY-NC-SA-4.0; research only",
    prompts={
        "vlmevalkit": Prompt("mlvu/vlmevalkit/1", _bracketed, ATTENTIVE),
        "official": Prompt("mlvu/official/1", _bracketed, f"{ATTENTIVE}\n", "Best option:("),
    },
)
