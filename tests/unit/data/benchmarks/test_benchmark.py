import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.benchmarks.benchmark import MICRO, Benchmark, answer_index, odd, unlettered
from merit_opt.data.prompts import LETTER, LETTER_AFTER_OPTION, Prompt
from merit_opt.data.sample import LETTERS

texts = st.lists(st.text(min_size=1).map(str.strip).filter(bool), min_size=1, max_size=26)


@given(options=texts, form=st.sampled_from(["{}. {}", "({}) {}", "{}) {}", "{}: {}", " {}.{}"]))
def test_letters_come_off_and_the_text_is_left(options, form):
    lettered = [form.format(letter, o) for letter, o in zip(LETTERS, options, strict=False)]
    assert unlettered(lettered) == tuple(options)


@pytest.mark.parametrize(
    "options",
    [
        ("A. one", "two"),
        ("A. one", "C. two"),
        ("B. one", "A. two"),
        ("A man.", "B. two"),
        ("A", "B"),
        ("I. Newton", "J. Kepler"),
        ("one", "two"),
        (),
    ],
)
def test_options_that_do_not_each_have_their_own_letter_are_left_alone(options):
    assert unlettered(options) == options


def test_the_right_text_is_found_only_where_it_stands_once():
    assert answer_index("b", ("a", "b")) == 1
    assert answer_index("c", ("a", "b")) is None
    assert answer_index("a", ("a", "b", "a")) is None


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (("a", "b"), ()),
        (("a", "a"), ("duplicate options",)),
        (("a",), ("single option",)),
        (("yes", "no"), ()),
    ],
)
def test_odd_options_are_flagged(options, flags):
    assert odd(options) == flags


def made_up(**changes):
    values = {
        "name": "toy",
        "repo": "acme/toy",
        "revision": "0" * 40,
        "files": {"plain": ("*.json",), "heard": ("*.json", "*.srt")},
        "read": lambda *_: (),
        "published": {"plain": 0, "heard": 0},
        "role_field": "kind",
        "aggregates": {"plain": MICRO, "heard": MICRO},
        "licence": "none",
    }
    return Benchmark(**values | changes)


def test_a_prompt_of_a_variant_takes_the_place_of_the_common_one_there():
    own = Prompt("toy/heard/lmms/1", LETTER.words)
    benchmark = made_up(prompts={"lmms": LETTER, "heard/lmms": own, "other": LETTER_AFTER_OPTION})
    assert benchmark.prompts_of("plain") == {"lmms": LETTER, "other": LETTER_AFTER_OPTION}
    assert benchmark.prompts_of("heard") == {"lmms": own, "other": LETTER_AFTER_OPTION}
