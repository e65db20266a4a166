import pytest

from merit_opt.data.prompts import PROMPTS, render_prompt
from merit_opt.data.sample import Media, Sample
from merit_opt.errors import UserError


def sample(options):
    media = Media(path=None, digest="0")
    return Sample("s", (media,), "object after red ?", options, 0, ("after",), "g")


def test_letter_after_option_puts_each_letter_behind_its_option():
    text = render_prompt("letter_after_option", sample(("blue", "red", "green", "yellow")))
    assert text == "object after red ? options blue A red B green C yellow D"


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("count", [2, 4, 26])
def test_every_prompt_shows_the_question_and_all_options_with_their_letters(name, count):
    options = tuple(f"option{i}" for i in range(count))
    words = render_prompt(name, sample(options)).split()
    assert " ".join(words).startswith("object after red ?")
    assert [w for w in words if w in options] == list(options)
    assert [w for w in words if len(w) == 1 and w.isupper()] == [chr(65 + i) for i in range(count)]


def test_an_unknown_prompt_names_the_nearest():
    message = r"no prompt is called 'letter_after_optoin'; did you mean 'letter_after_option'\?"
    with pytest.raises(UserError, match=message):
        render_prompt("letter_after_optoin", sample(("a", "b")))


def test_more_options_than_letters_are_refused():
    with pytest.raises(UserError, match="27 options, but there are only 26 letters"):
        render_prompt("letter_after_option", sample(tuple(f"o{i}" for i in range(27))))
