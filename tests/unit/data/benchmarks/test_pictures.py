import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.benchmark import LeftOut
from merit_opt.data.benchmarks.pictures import gold_index, plain_number, split_options
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import LETTERS, Number, Sample
from tests.contracts.benchmarks import mathverse, mathvista

REAL = Path(os.environ.get("MERIT_OPT_SHARED", "../shared")) / "bench_data" / "mathverse"
WAYS = ("({})", "{}:", "{}.", "{})")

words = st.text("abc def,-[]°½", min_size=1).map(lambda t: t.strip(" ,")).filter(bool)
options = st.lists(words, min_size=2, max_size=6)


@given(words, options, st.sampled_from(WAYS), st.sampled_from(("\n", ", ", " ")))
def test_options_written_behind_a_question_are_found(question, texts, way, between):
    written = between.join(
        f"{way.format(letter)} {text}" for letter, text in zip(LETTERS, texts, strict=False)
    )
    for header in ("\nChoices:\n", " Choices: ", " choice: ", "\nOptions: "):
        assert split_options(f"{question}{header}{written}") == (question, tuple(texts))


@pytest.mark.parametrize(
    ("text", "question", "found"),
    [
        ("Union?\nA: [2, 8]\nB: [1]\n", "Union?", ("[2, 8]", "[1]")),
        ("What tree is it?  (A) heap (B) stack", "What tree is it?", ("heap", "stack")),
        ("Sign? Choices: (A) + (B) - (C) /", "Sign?", ("+", "-", "/")),
        ("Is (A) or (B) it? Choices: (A) A (B) B", "Is (A) or (B) it?", ("A", "B")),
        ("e.g., A, B, C, at the end.", "e.g., A, B, C, at the end.", ()),
        ("What are your options: this or that?", "What are your options: this or that?", ()),
        ("Which?\nChoices:\nA:one\nB:\nC:three", "Which?", ("one", "", "three")),
    ],
)
def test_options_are_told_from_what_only_looks_like_them(text, question, found):
    assert split_options(text) == (question, found)


@pytest.mark.parametrize(
    ("gold", "index"),
    [("B", 1), ("(B)", 1), ("B.", 1), ("false", 0), ("C", None), ("A\nB", None), ("true", 1)],
)
def test_a_right_answer_is_a_letter_or_an_options_own_text(gold, index):
    assert gold_index(gold, ("false", "true")) == index


def test_a_text_that_two_options_have_is_no_right_answer():
    assert gold_index("one", ("one", "one")) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("19", Number(19.0, 0.0)),
        (" -2.50 ", Number(-2.5, 0.005)),
        ("53.6", Number(53.6, 0.05)),
        ("45^\\circ", None),
        ("4.4 m", None),
        ("1e9999", None),
        ("nan", None),
        ("", None),
    ],
)
def test_a_number_is_right_to_the_decimals_it_is_given_with(text, number):
    assert plain_number(text) == number


def read(name, root, variant):
    return list(BENCHMARKS[name].read(DatasetCopy(root, root / "cache"), variant))


def test_the_authors_files_and_the_hubs_table_of_mathvista_hold_the_same_questions(tmp_path):
    mathvista.write(tmp_path / "hub")
    rows = {row["pid"]: {**row, "decoded_image": None} for row in mathvista.ROWS}
    (tmp_path / "github" / "data").mkdir(parents=True)
    (tmp_path / "github" / "data" / "testmini.json").write_text(json.dumps(rows))
    hub, github = (read("mathvista", tmp_path / n, "testmini") for n in ("hub", "github"))

    def asked(one):
        if isinstance(one, LeftOut):
            return one
        return one.id, one.question, one.options, one.answer, one.categories, one.group_id

    assert [asked(one) for one in hub] == [asked(one) for one in github]


def test_units_and_precision_of_mathvista_reach_the_question_and_its_tolerance(tmp_path):
    mathvista.write(tmp_path)
    found = {one.id: one for one in read("mathvista", tmp_path, "testmini")}
    assert found["3"].answer == Number(14.0, 0.0)
    assert found["4"].answer == Number(2.5, 0.05)
    assert found["4"].question.endswith("? (Unit: m)")
    assert found["4"].category("precision") == "1"


def test_a_question_only_in_the_picture_has_the_options_of_its_other_versions(tmp_path):
    mathverse.write(tmp_path)
    told, shown = read("mathverse", tmp_path, "testmini")[:2]
    assert (told.options, told.answer) == (("2", "3", "4"), 1)
    assert (shown.options, shown.answer) == (("A", "B", "C"), 1)
    assert told.group_id == shown.group_id


def test_real_questions_of_mathverse_come_apart(tmp_path):
    """Each kind is five versions of: 352 free answers, of which 82 are plain numbers."""
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here: the real annotations of mathverse")
    mathverse.lay(REAL, tmp_path)
    found = read("mathverse", tmp_path, "testmini")
    samples = [one for one in found if isinstance(one, Sample)]
    reasons = [one.reason for one in found if isinstance(one, LeftOut)]
    assert sum(isinstance(s.answer, Number) for s in samples) == 5 * 82
    assert sum("only a judge" in reason for reason in reasons) == 5 * (352 - 82)
    assert sum("not exactly one" in reason for reason in reasons) == 5 * 2
    assert sum("cannot be told" in reason for reason in reasons) == 5 * 1
    assert not [s.id for s in samples if "hoices" in s.question]
