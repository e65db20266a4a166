"""TOMATO (arXiv 2410.23266): reasoning in time on 1,417 clips that no few frames answer."""

from collections.abc import Iterator
from pathlib import Path

from merit_opt.data.benchmarks.benchmark import MICRO, NO_GOLD, Benchmark, LeftOut, odd, values
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt
from merit_opt.data.sample import LETTERS, Cue, Sample
from merit_opt.data.tables import Row, read_json, read_rows

TYPES = ("count", "direction", "rotation", "shape&trend", "velocity&frequency", "visual_cues")
FIELDS = ("demonstration_type", "motion_type")


def read(copy: DatasetCopy, _: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the answer is an index."""
    for path in copy.find("data/*.json", "data/*.parquet", "*.json", "*.parquet"):
        for number, row in _rows(path):
            kind = row.get("reason_type") or _type(path)
            name = row.get("video_path") or f"videos/{row['demonstration_type']}/{row['key']}.mp4"
            options = tuple(row["options"])
            if not 0 <= row["answer"] < len(options):
                yield LeftOut(f"{kind}/{number}", NO_GOLD)
                continue
            yield Sample(
                id=f"{kind}/{number}",
                media=(copy.media(name),),
                question=row["question"],
                options=options,
                answer=row["answer"],
                categories=(("reason_type", kind), *values(row, FIELDS)),
                group_id=name,
                flags=odd(options),
            )


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    if path.suffix == ".json":
        yield from read_json(path).items()
    else:
        yield from ((str(row.get("id", n)), row) for n, row in enumerate(read_rows(path)))


def _type(path: Path) -> str:
    """Of ``shape&trend.json`` or ``shape_trend-00000-of-00001.parquet``."""
    name = path.stem.split("-")[0]
    return {kind.replace("&", "_"): kind for kind in TYPES}.get(name, name)


def _lmms(sample: Sample, _: tuple[Cue, ...]) -> str:
    options = dict(zip(LETTERS, sample.options, strict=False))
    return (
        "You will be provided with frames uniformly sampled from a video, the frames are provided "
        "in chronological order of the video. Analyze these frames and provide the answer to the "
        "question about the video content. Answer the multiple-choice question about the video "
        "content.\n\nYou must use these frames to answer the multiple-choice question; do not rely "
        "on any externel knowledge or commonsense. \n\n"
        f"<question> \n{sample.question} \n</question>\n\n<options> \n{options} \n</options>\n\n"
        "Even if the information in these separate frames is not enough to answer the question, "
        "PLEASE TRY YOUR BEST TO GUESS AN ANSWER WHICH YOU THINK WOULD BE THE MOST POSSIBLE ONE "
        "BASED ON THE QUESTION. \n\nDO NOT GENERATE ANSWER SUCH AS 'NOT POSSIBLE TO DETERMINE.' \n"
    )


TOMATO = Benchmark(
    name="tomato",
    repo="lmms-eval/TOMATO",
    revision=None,
    files={"all": ("*.parquet", "*.zip")},
    read=read,
    published={"all": 1484},
    role_field="reason_type",
    aggregates={"all": MICRO},
    licence="CC BY-SA 4.0",
    prompts={"lmms": Prompt("tomato/lmms/1", _lmms)},
)
