# ruff: noqa: RUF001  full-width letters are what is tested
"""A golden table: what each answer in words counts as."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.sample import YES_NO, Media, Number, Sample
from merit_opt.evaluation.scorers import score_text

OPTIONS = ("Red.", "A blue car.", "Green.", "Before the man left.")
AMBIGUOUS, NONE = "ambiguous", "none"


def sample(options=OPTIONS, answer=2):
    media = (Media(Path("clip.mp4"), "0"),)
    return Sample("s", media, "?", options, answer, (), "g", is_yes_no=options == YES_NO)


def outcome(asked, text, called=()):
    score = score_text(asked, text, called or asked.labels)
    assert score.text == text
    assert (score.value is None) == (score.why in (AMBIGUOUS, NONE)) == (score.answer == "")
    return score.answer or score.why


# Those up to the empty text are the strings on which published parsers disagree.
LETTERS = {
    "C": "C",
    "C.": "C",
    "(C)": "C",
    "C. Green.": "C",
    "Green.": "C",
    "**C**": "C",
    "Based on the video, the answer is C.": "C",
    "Because the frames show a green object, C": "C",
    "<answer>C</answer>": "C",
    r"\boxed{C}": "C",
    "The answer is not A or B. It is C": "C",
    "Answer: C": "C",
    "Before the man left.": "D",
    "": NONE,
    "is a vehicle": NONE,
    "A or B": AMBIGUOUS,
    r"$\boxed{\text{C}}$": "C",
    "c": "C",
    "(c)": "C",
    "c.": "C",
    "a": "A",
    "c. green": "C",
    "the answer is c": "C",
    "the answer is (c)": "C",
    "the answer is a vehicle": NONE,
    "The answer is A because it moves": "A",
    "The answer is A blue car.": "B",
    "a BLUE car": "B",
    "A man walks in": NONE,
    "It is A": "A",
    "I think it is C": "C",
    "I think so": NONE,
    "<think>It could be A or B.</think>C": "C",
    "<think>Maybe the answer is B": NONE,
    "it may be B</think>\n\nC": "C",
    "Ｃ": "C",
    "（Ｃ）": "C",
    "Ｃ．Green": "C",
    "E": NONE,
    "The answer is E.": NONE,
    "C or E": AMBIGUOUS,
    "Option C": "C",
    "Option C is correct.": "C",
    "C is the correct answer": "C",
    "The correct option is (C) Green.": "C",
    "The best answer is: **C**.": "C",
    "**Answer:** C": "C",
    "I would choose C": "C",
    "It's C.": "C",
    "The answer is C, not A.": "C",
    "The answer is not A": NONE,
    "C, because it is green": "C",
    "C) Green": "C",
    "[C]": "C",
    "C: Green": "C",
    "C - Green": "C",
    "(C) Green. The man left.": "C",
    "C\n\nThe object is green, so A and B are wrong.": "C",
    "A is wrong and B is wrong.\n\nC": "C",
    "B. is wrong, the answer is C": "C",
    "The object is green. C": "C",
    "C. Red.": AMBIGUOUS,
    "Answer: C. Red.": AMBIGUOUS,
    "C\nThe answer is B": AMBIGUOUS,
    "A, B": AMBIGUOUS,
    "A and C": AMBIGUOUS,
    "A B C D": AMBIGUOUS,
    "The answer is A or C": AMBIGUOUS,
    "The answer is A. Wait, the answer is C.": AMBIGUOUS,
    "<answer>A</answer><answer>C</answer>": AMBIGUOUS,
    "<answer></answer>": NONE,
    "A. Red.\nB. A blue car.\nC. Green.\nD. Before the man left.": AMBIGUOUS,
    "A. Red.\nB. A blue car.\nC. Green.\nAnswer: C": "C",
    "The object is green.": NONE,
    "Red. Green.": NONE,
    "Person C enters": NONE,
    "ABC": NONE,
    "The video shows a vitamin C tablet.": NONE,
    "None of the above": NONE,
}
WORDS = {
    "yes": "yes",
    "Yes.": "yes",
    "**No**": "no",
    "(no)": "no",
    "ＹＥＳ": "yes",
    "no, it is not": "no",
    "Yes, the man leaves first": "yes",
    "Yes the man leaves": "yes",
    "The answer is no.": "no",
    "Answer: Yes": "yes",
    "<answer>no</answer>": "no",
    "There is a man, so yes.": "yes",
    "No one is there": NONE,
    "I know": NONE,
    "yesterday": NONE,
    "It is not": NONE,
    "": NONE,
    "yes or no": AMBIGUOUS,
    "Yes and no.": AMBIGUOUS,
    "Yes. No.": AMBIGUOUS,
    "No, wait. Yes, it is.": AMBIGUOUS,
}
FIGURES = {
    "3.5": "3.5",
    "3.5 m": "3.5",
    "x = 3.5": "3.5",
    "1,234.5 km": "1234.5",
    "$1,200": "1200",
    "3/4": "0.75",
    "1 1/2": "1.5",
    "1½": "1.5",
    "50%": "50%",
    "50 percent": "50%",
    "-3": "-3",
    "−3": "-3",
    "１２": "12",
    "1.5e3": "1500",
    "12 m^2": "12",
    "three": "3",
    "The answer is about 5 m": "5",
    "2 + 3 = 5": "5",
    "3 or 3.0": "3",
    r"\boxed{7}": "7",
    "<answer>7</answer> or 8": "7",
    "3-5": AMBIGUOUS,
    "between 3 and 5": AMBIGUOUS,
    "x = 2, y = 3": AMBIGUOUS,
    "3,5": AMBIGUOUS,
    "There are 3 cats and 4 dogs": AMBIGUOUS,
    "H2O": NONE,
    "2^5": NONE,
    "25^2": NONE,
    "2.5 ^ 2": NONE,
    "2^-5": NONE,
    r"$2^{10}$": NONE,
    "1/2^3": NONE,
    "5²": NONE,
    "10⁻³": NONE,
    "2**5": AMBIGUOUS,
    "2*5": AMBIGUOUS,
    "3 × 10^5": NONE,
    "2^5 = 32": "32",
    "The answer is 5²": NONE,
    "12 m²": "12",
    "the 12th": NONE,
    "3rd": NONE,
    "many": NONE,
    "": NONE,
}


@pytest.mark.parametrize("text", LETTERS)
def test_letters(text):
    assert outcome(sample(), text) == LETTERS[text]


@pytest.mark.parametrize("text", WORDS)
def test_yes_and_no(text):
    assert outcome(sample(YES_NO, 0), text) == WORDS[text]


@pytest.mark.parametrize("text", FIGURES)
def test_figures(text):
    assert outcome(sample((), Number(3.0, 0.1)), text) == FIGURES[text]


@pytest.mark.parametrize(
    ("text", "right"),
    [("2.9", 1.0), ("3.1 m", 1.0), ("3.2", 0.0), ("300%", 1.0), ("3%", 1.0), ("-3", 0.0)],
)
def test_a_number_is_right_within_its_tolerance(text, right):
    assert score_text(sample((), Number(3.0, 0.1 + 1e-9)), text, ()).value == right


def test_the_text_of_two_options_alike_is_no_answer():
    assert outcome(sample(("Red.", "red", "Green.")), "Red") == AMBIGUOUS


def test_a_letter_that_is_another_option_s_text_is_ambiguous():
    assert outcome(sample(("B", "A", "C")), "B") == AMBIGUOUS


def test_a_single_option_s_text_counts():
    assert outcome(sample(("Red.",), 0), "red") == "A"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Option 3", "C"),
        ("option 3: Green.", "C"),
        ("3", "C"),
        ("(3)", "C"),
        ("3. Green.", "C"),
        ("The best option is Option 3.", "C"),
        ("Green.", "C"),
        ("Option 3: Red.", AMBIGUOUS),
        ("Option 1 or Option 2", AMBIGUOUS),
        ("Option 5", NONE),
        ("3 men walk", NONE),
    ],
)
def test_options_that_were_numbered_are_named_by_their_numbers(text, label):
    assert outcome(sample(), text, "1234") == label
    assert outcome(sample(), "3") == outcome(sample(), "Option 3") == NONE


LOOPS = {
    "A, ": "A",
    "A, B or ": AMBIGUOUS,
    "A or ": NONE,
    "A\n": "A",
    "A & ": NONE,
    "I ": NONE,
    "option ": NONE,
    "the answer is ": NONE,
    "the answer is\n": NONE,
    "the correct option ": NONE,
    "(": NONE,
    "\n": NONE,
    ". ": NONE,
    "<think>": NONE,
    "</think>": NONE,
    "<answer>": NONE,
    r"\boxed{": NONE,
}


@pytest.mark.parametrize("unit", LOOPS)
def test_a_model_caught_in_a_loop_is_read_to_its_end(unit):
    assert outcome(sample(), unit * (2000 // len(unit))) == LOOPS[unit]


@given(st.text(max_size=60))
def test_any_text_has_an_outcome(text):
    for asked in (sample(), sample(YES_NO, 0), sample((), Number(1.0, 0.0))):
        assert outcome(asked, text)


@given(st.sampled_from("ABCD"), st.text("abcdefghijklmnopqrstuvwxyz ", max_size=40))
def test_small_words_around_a_declared_letter_change_nothing(letter, words):
    assert outcome(sample(), f"{words}. The answer is {letter}.") == letter


@given(st.integers(-(10**9), 10**9))
def test_a_whole_number_is_itself_however_it_is_written(number):
    asked = sample((), Number(float(number), 0.0))
    for text in (f"{number}", f"{number:,}", f"The answer is {number:,}.", f"{number}.0 apples"):
        assert score_text(asked, text, ()).value == 1.0
