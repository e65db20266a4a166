"""Prompts of other toolkits, word for word.

Each string stands in the named file of the named repository at that commit.
"""

from pathlib import Path

import pytest

from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.prompts import said
from merit_opt.data.sample import Cue, Media, Sample

DIRECTLY = "Answer with the option's letter from the given choices directly."
ATTENTIVE = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, "
    "select the best option that accurately addresses the question."
)
LETTERED = "Which one?\nA. this\nB. that"
BRACKETED = "Question: Which one?\nOptions:\n(A) this\n(B) that\nOnly give the best option."

GOLDEN = {
    # EvolvingLMMs-Lab/lmms-eval 147ad5c1: lmms_eval/tasks/egoschema/utils.py
    ("egoschema", "lmms"): ("", f"{LETTERED}\n{DIRECTLY}", ""),
    # lmms-eval 03a5823f: lmms_eval/tasks/longvideobench/utils.py, 511b6259: longvideobench_val_v.yaml
    ("longvideobench", "lmms"): ("", f"{LETTERED}\n{DIRECTLY}\n", ""),
    # open-compass/VLMEvalKit 00fff545: vlmeval/dataset/longvideobench.py
    ("longvideobench", "vlmevalkit"): ("", f"{LETTERED}\n{DIRECTLY}", ""),
    # VLMEvalKit 296425e2: vlmeval/dataset/mlvu.py
    ("mlvu", "vlmevalkit"): (ATTENTIVE, BRACKETED, ""),
    # JUNJIE99/MLVU 0b16f40f: videochat2/choice_bench.py
    ("mlvu", "official"): (f"{ATTENTIVE}\n", BRACKETED, "Best option:("),
    # lmms-eval 9c25ff5b: lmms_eval/tasks/motionbench/_default_template_yaml
    ("motionbench", "lmms"): (
        "",
        f"{LETTERED}\nAnswer with only the option letter (A, B, C, D, E, or F).",
        "",
    ),
    # lmms-eval 7dcc9ccf: lmms_eval/tasks/nextqa/utils.py
    ("nextqa", "lmms"): ("", LETTERED, ""),
    # lmms-eval 06f392e6: lmms_eval/tasks/perceptiontest/val/utils.py
    ("perceptiontest", "lmms"): ("", f"{LETTERED}\n{DIRECTLY}", ""),
    # lmms-eval 03a5823f: lmms_eval/tasks/temporalbench/utils.py; the example row of
    # mu-cai/TemporalBench a4a74897: README.md
    ("temporalbench", "lmms"): ("", f"{LETTERED}\n{DIRECTLY}", ""),
    ("temporalbench", "official"): ("", f"{LETTERED}\n{DIRECTLY}", ""),
    # lmms-eval 3c07dc18: lmms_eval/tasks/videommmu/_default_template_yaml
    ("video_mmmu", "lmms"): (
        "",
        f"{LETTERED}\nPlease ignore the Quiz question in last frame of the video.",
        "",
    ),
}


def sample(**categories: str) -> Sample:
    return Sample(
        id="1",
        media=(Media(Path("a.mp4"), "digest"),),
        question="Which one?",
        options=("this", "that"),
        answer=1,
        categories=tuple(categories.items()),
        group_id="a",
    )


@pytest.mark.parametrize(("benchmark", "name"), GOLDEN, ids="-".join)
def test_a_toolkit_asks_in_these_words(benchmark, name):
    prompt = BENCHMARKS[benchmark].prompts[name]
    assert prompt.name == f"{benchmark}/{name}/1"
    words = said(prompt, sample(track="Perception"), ())
    assert (prompt.system, words, prompt.answer_prefix) == GOLDEN[benchmark, name]


def test_adaptation_is_asked_in_other_words():
    """lmms-eval 3c07dc18: lmms_eval/tasks/videommmu/_default_template_yaml."""
    words = said(BENCHMARKS["video_mmmu"].prompts["lmms"], sample(track="Adaptation"), ())
    assert words == (
        "You should watch and learn the video content. Then apply what you learned to answer the "
        "following multi-choice question. The image for this question is at the end of the video."
        f"\n{LETTERED}"
    )


def test_subtitles_come_before_the_question():
    cues = (Cue(0.0, 1.0, "Hello"), Cue(2.0, 3.0, "there"))
    words = said(BENCHMARKS["longvideobench"].prompts["vlmevalkit"], sample(), cues)
    assert words == f"Hello\nthere\n{LETTERED}\n{DIRECTLY}"
