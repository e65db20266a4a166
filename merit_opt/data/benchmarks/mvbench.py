"""MVBench (arXiv 2311.17005): 20 tasks of 200 questions on short clips."""

from collections.abc import Iterator
from dataclasses import replace

from merit_opt.data.benchmarks.benchmark import NO_GOLD, Benchmark, LeftOut, answer_index, odd
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Media, Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row

STA, CHARADES, CLEVRER, PERCEPTION = (
    "sta/sta_video",
    "star/Charades_v1_480",
    "clevrer/video_validation",
    "perception/videos",
)
FOLDERS = {
    "action_antonym": "ssv2_video",
    "action_count": PERCEPTION,
    "action_localization": STA,
    "action_prediction": CHARADES,
    "action_sequence": CHARADES,
    "character_order": PERCEPTION,
    "counterfactual_inference": CLEVRER,
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "fine_grained_pose": "nturgbd",
    "moving_attribute": CLEVRER,
    "moving_count": CLEVRER,
    "moving_direction": CLEVRER,
    "object_existence": CLEVRER,
    "object_interaction": CHARADES,
    "object_shuffle": PERCEPTION,
    "scene_transition": "scene_qa/video",
    "state_change": PERCEPTION,
    "unexpected_action": "FunQA_test/test",
}
CUT = (
    "action_localization",
    "action_prediction",
    "action_sequence",
    "episodic_reasoning",
    "object_interaction",
)
TOPS = ("video/", "", "video/data0613/", "data0613/")
TASKS = (Aggregate("mean of tasks", "mean_of_means", by="task"),)
SYSTEM = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail "
    "and movement of objects, and the action and pose of persons. Based on your observations, "
    "select the best option that accurately addresses the question.\n"
)


def read(copy: DatasetCopy, _: str) -> Iterator[Sample | LeftOut]:
    """One sample a row; the gold text's place among the options is the answer.

    Videos of Charades lie in two folders; one that is in both is one group.
    """
    for task, folder in FOLDERS.items():
        for index, row in enumerate(copy.rows(f"json/{task}.json", f"{task}.json")):
            if task in CUT and not {"start", "end"} <= row.keys():
                yield LeftOut(f"{task}/{index}", "the copy has lost when its clip starts and ends")
                continue
            names = [f"{top}{folder}/{row['video']}" for top in TOPS]
            media = copy.media(
                *names, start=row.get("start"), end=row.get("end"), fps=row.get("fps")
            )
            source = CHARADES if folder == STA else folder
            yield sample_of(row, task, index, media, f"{source}/{row['video']}")


def sample_of(row: Row, task: str, index: int, media: Media, group_id: str) -> Sample | LeftOut:
    """A row of MVBench's layout, which others have too."""
    options = tuple(row["candidates"])
    answer = answer_index(row["answer"], options)
    if answer is None:
        return LeftOut(f"{task}/{index}", NO_GOLD)
    return Sample(
        id=f"{task}/{index}",
        media=(media,),
        question=row["question"],
        options=options,
        answer=answer,
        categories=(("task", task),),
        group_id=group_id,
        flags=odd(options),
    )


def _lmms(sample: Sample, _: tuple[Cue, ...]) -> str:
    options = lettered(sample, "({letter}) {option}")
    return f"Question:{sample.question}\nOption:\n{options}\nOnly give the best option.\n"


def bracketed(sample: Sample, _: tuple[Cue, ...]) -> str:
    """As MVBench's own code asks, without what comes before and after."""
    options = lettered(sample, "({letter}) {option}").rstrip()
    return f"Question: {sample.question}\nOptions:\n{options}\nOnly give the best option."


VLMEVALKIT = Prompt(
    "mvbench/vlmevalkit/1", bracketed, system=SYSTEM, answer_prefix="Best option:("
)

MVBENCH = Benchmark(
    name="mvbench",
    repo="OpenGVLab/MVBench",
    revision="230a2d4fac8900333c61754641c7a13e069ac9c6",
    files={"all": ("json/*.json", "video/*.zip")},
    read=read,
    published={"all": 4000},
    role_field="task",
    aggregates={"all": TASKS},
    licence="MIT for the annotations; the clips have those of their datasets",
    prompts={
        "lmms": Prompt("mvbench/lmms/1", _lmms),
        "vlmevalkit": VLMEVALKIT,
        "official": replace(VLMEVALKIT, name="mvbench/official/1"),
    },
)
