import pytest

from merit_opt.data.benchmarks.inline import inline_options


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("Which?\nA. Red.\nB. Blue.", "Which?", ("Red.", "Blue.")),
        ("Which?\n(A) Red\n(B) Blue\n(C) None", "Which?", ("Red", "Blue", "None")),
        ("Which?\nA: Red \n B) Blue\nAnswer with a letter.", "Which?", ("Red", "Blue")),
        ("A. Red\nB. Blue\nRespond with the letter.", "", ("Red", "Blue")),
        ("Two lines\nof text?\nA. Red\nor rose\nB. Blue", "Two lines\nof text?",
         ("Red\nor rose", "Blue")),
        ("Which?\nA. A. Smith\nB. C. Jones", "Which?", ("A. Smith", "C. Jones")),
        ("Which?\nA. Red\nC. not a third\nB. Blue", "Which?", ("Red\nC. not a third", "Blue")),
        ("Is A.I. here?\nA person sits.", "Is A.I. here?\nA person sits.", ()),
        ("", "", ()),
    ],
)  # fmt: skip
def test_options_are_the_lines_whose_letters_follow_one_another(text, question, options):
    assert inline_options(text) == (question, options)
