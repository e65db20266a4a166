"""TVBench (arXiv 2410.07752): 10 tasks that a single frame or the text alone cannot answer."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import Benchmark, LeftOut
from merit_opt.data.benchmarks.mvbench import SYSTEM, TASKS, bracketed, sample_of
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Sample

NAMES = (
    "action_antonym",
    "action_count",
    "action_localization",
    "action_sequence",
    "egocentric_sequence",
    "moving_direction",
    "object_count",
    "object_shuffle",
    "scene_transition",
    "unexpected_action",
)


def read(copy: DatasetCopy, _: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the gold text's place among the options is the answer.

    Every task has a folder, so that one video lies in several; a name is a group.
    """
    for task in NAMES:
        for index, row in enumerate(copy.rows(f"json/{task}.json", f"{task}.json")):
            name = f"video/{task}/{row['video']}"
            media = copy.media(name, start=row.get("start"), end=row.get("end"))
            yield sample_of(row, task, index, media, row["video"])


def _lmms(sample: Sample, _: tuple[Cue, ...]) -> str:
    question = sample.question.strip()
    return f"{question}\n{lettered(sample)}\nAnswer with the option letter only."


def _official(sample: Sample, cues: tuple[Cue, ...]) -> str:
    return f"{SYSTEM}{bracketed(sample, cues)}"


TVBENCH = Benchmark(
    name="tvbench",
    repo="FunAILab/TVBench",
    revision="ad7968f6e376cd1fa70ab344174cc9bd81b042ef",
    files={"all": ("json/*.json", "video/*")},
    read=read,
    published={"all": 2525},
    role_field="task",
    aggregates={"all": TASKS},
    licence="CC BY 4.0 for the annotations; the clips have those of their datasets",
    prompts={
        "lmms": Prompt("tvbench/lmms/1", _lmms),
        "official": Prompt(
            "tvbench/official/1", _official, system=SYSTEM, answer_prefix="Best option:("
        ),
    },
)
