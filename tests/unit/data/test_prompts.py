import pytest

from merit_opt.data.prompts import COMMON, find_prompt, said
from merit_opt.data.sample import YES_NO, Cue, Media, Number, Sample
from merit_opt.errors import UserError

CUES = (Cue(0.0, 1.0, "good morning"), Cue(2.0, 3.0, "good night"))


def sample(options, answer=0):
    media = Media(path=None, digest="0")
    is_word = options == YES_NO
    return Sample("s", (media,), "object after red ?", options, answer, (), "g", is_yes_no=is_word)


def words(name, asked, cues=()):
    return said(find_prompt(name, COMMON), asked, cues)


def test_letter_after_option_puts_each_letter_behind_its_option():
    text = words("letter_after_option", sample(("blue", "red", "green", "yellow")))
    assert text == "object after red ? options blue A red B green C yellow D"


def test_letter_asks_for_a_letter_a_word_or_a_number():
    assert words("letter", sample(("blue", "red"))) == (
        "object after red ?\nA. blue\nB. red\nAnswer with the letter of the right option only."
    )
    assert words("letter", sample(YES_NO)) == "object after red ?\nAnswer with yes or no only."
    assert words("letter", sample((), Number(1.0, 0.0))) == (
        "object after red ?\nAnswer with a number only."
    )


def test_letter_puts_subtitles_before_the_question():
    text = words("letter", sample(("blue", "red")), CUES)
    assert text.startswith("Subtitles:\ngood morning\ngood night\n\nobject after red ?")


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize("count", [2, 4, 26])
def test_every_prompt_shows_the_question_and_all_options_with_their_letters(name, count):
    options = tuple(f"option{i}" for i in range(count))
    found = words(name, sample(options)).replace(".", "").split()
    assert " ".join(found).startswith("object after red ?")
    assert [w for w in found if w in options] == list(options)
    assert [w for w in found if len(w) == 1 and w.isupper()] == [chr(65 + i) for i in range(count)]


def test_an_unknown_prompt_names_the_nearest():
    message = (
        r"no prompt is called 'letter_after_optoin' here; did you mean 'letter_after_option'\?"
    )
    with pytest.raises(UserError, match=message):
        find_prompt("letter_after_optoin", COMMON)


def test_more_options_than_letters_are_refused():
    with pytest.raises(UserError, match="27 options, but there are only 26 letters"):
        words("letter_after_option", sample(tuple(f"o{i}" for i in range(27))))
