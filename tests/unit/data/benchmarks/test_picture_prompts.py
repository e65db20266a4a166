"""Prompts of benchmarks of pictures, against what their authors' code and the toolkits write."""

from pathlib import Path

import pytest

from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.mathverse import SHOWN
from merit_opt.data.prompts import said
from merit_opt.data.sample import Media, Number, Sample


def sample(question, options=(), answer=0, **categories):
    media = Media(Path("1.jpg"), "1")
    return Sample("1", (media,), question, options, answer, tuple(categories.items()), "1")


WHOLE = sample("How many? (Unit: g)", (), Number(4, 0), answer_type="integer", precision="")
TENTHS = sample("How far?", (), Number(1.2, 0.05), answer_type="float", precision="1")
HUNDREDTHS = sample("How much?", (), Number(1.23, 0.005), answer_type="float", precision="2")
CHOICE = sample("Which one?", ("red", "blue"), 1)

# lmms_eval/tasks/mathvista/mathvista_evals.py, create_one_query, shot_type format-prompt
# (EvolvingLMMs-Lab/lmms-eval, 0893c504b183438c4e4b87496661fe38f6c36753)
MATHVISTA_LMMS = (
    (
        CHOICE,
        (
            "Which one?\nA. red\nB. blue\n"
            "Answer with the option's letter from the given choices directly."
        ),
    ),
    (WHOLE, "How many? (Unit: g)\nAnswer the question using a single integer number."),
    (
        TENTHS,
        (
            "How far?\nAnswer the question using a single floating-point number with one decimal "
            "place."
        ),
    ),
    (
        HUNDREDTHS,
        (
            "How much?\nAnswer the question using a single floating-point number with two decimal "
            "places."
        ),
    ),
)
# evaluation/build_query.py, create_one_query, shot_type solution, no shots
# (lupantech/MathVista, c8221f04042cf2ae36624a4b01b4f05a828372c6)
MATHVISTA_OFFICIAL = (
    (
        CHOICE,
        (
            "Question: Which one?\nChoices:\n(A) red\n(B) blue\n"
            "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, "
            "D, at the end.\nSolution:"
        ),
    ),
    (
        WHOLE,
        (
            "Question: How many? (Unit: g)\n"
            "Hint: Please answer the question requiring an integer answer and provide the final "
            "value, e.g., 1, 2, 3, at the end.\nSolution:"
        ),
    ),
    (
        TENTHS,
        (
            "Question: How far?\n"
            "Hint: Please answer the question requiring a floating-point number with one decimal "
            "place and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.\nSolution:"
        ),
    ),
    (
        HUNDREDTHS,
        (
            "Question: How much?\n"
            "Hint: Please answer the question requiring a floating-point number with two decimal "
            "places and provide the final value, e.g., 1.23, 1.34, 1.45, at the end.\nSolution:"
        ),
    ),
)
# query_wo of data/testmini_text_only.json and output_templates/output_testmini.json
# (ZrrSkywalker/MathVerse, 937b090597aeafb8e82b35d310a4bc5b9e2ea29d)
MATHVERSE_OFFICIAL = (
    (
        CHOICE,
        (
            "Please directly answer the question and provide the correct option letter, e.g., A, B, "
            "C, D.\nQuestion: Which one?\nChoices:\nA:red\nB:blue"
        ),
    ),
    (
        sample("How far?", (), Number(1, 0)),
        (
            "Please directly answer the question and provide the final value, e.g., 1, 2.5, 300.\n"
            "Question: How far?"
        ),
    ),
    (
        sample(SHOWN, (), Number(14, 0)),
        (
            "According to the question shown in the image, please directly answer the question and "
            "provide the final value, e.g., 1, 2.5, 300."
        ),
    ),
)
# lmms_eval/tasks/mathvision/utils.py and mathvision_testmini.yaml
# (EvolvingLMMs-Lab/lmms-eval, 01c59c1f52d3f4c27dbaf8e503abebaccee81e51)
MATHVISION_LMMS = (
    (
        CHOICE,
        (
            'Please solve the problem step by step and put your answer in one "\\boxed{}".Which one?\n'
            "Choices: A. red\nB. blue\n"
            "Answer the question with the option's letter from the given choices directly."
        ),
    ),
    (
        sample("How far?", (), Number(1, 0)),
        'Please solve the problem step by step and put your answer in one "\\boxed{}".How far?',
    ),
)
# vlmeval/dataset/image_mcq.py, build_prompt
# (open-compass/VLMEvalKit, 01424f9929593c12491c19b790ad1be017926552)
MMSTAR_VLMEVALKIT = (
    (
        CHOICE,
        (
            "Question: Which one?\nOptions:\nA. red\nB. blue\n"
            "Please select the correct answer from the options above. \n"
        ),
    ),
)


@pytest.mark.parametrize(
    ("benchmark", "prompt", "cases"),
    [
        ("mathvista", "lmms", MATHVISTA_LMMS),
        ("mathvista", "official", MATHVISTA_OFFICIAL),
        ("mathverse", "official", MATHVERSE_OFFICIAL),
        ("mathvision", "lmms", MATHVISION_LMMS),
        ("mmstar", "vlmevalkit", MMSTAR_VLMEVALKIT),
    ],
)
def test_a_prompt_is_word_for_word_what_its_source_writes(benchmark, prompt, cases):
    for asked, text in cases:
        assert said(BENCHMARKS[benchmark].prompts[prompt], asked, ()) == text
