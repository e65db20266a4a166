"""How a question becomes what the model is told, by name."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from operator import attrgetter
from types import MappingProxyType

from merit_opt.data.sample import LETTERS, Cue, Sample
from merit_opt.errors import UserError

Words = Callable[[Sample, tuple[Cue, ...]], str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said around a question. The chat template is the model's own.

    Attributes:
        name: With the version, as in `letter/1` or `videomme/lmms/1`: raise it with every change.
        words: (sample, subtitles seen) -> the user's text.
        system: The system message; empty for none.
        answer_prefix: What the model's answer begins with, before what it may choose.
        interleaved: Whether subtitles stand between the frames, where a model is shown a video as
            its frames and its chat template keeps their order; `words` is then given none.
        labels: What the text calls a sample's options, where that is not `Sample.labels`.
    """

    name: str
    words: Words
    system: str = ""
    answer_prefix: str = ""
    interleaved: bool = False
    labels: Callable[[Sample], tuple[str, ...]] = attrgetter("labels")


def lettered(sample: Sample, form: str = "{letter}. {option}") -> str:
    """The options, a line each."""
    return "\n".join(
        form.format(letter=letter, option=option)
        for letter, option in zip(LETTERS, sample.options, strict=False)
    )


def heard(cues: tuple[Cue, ...]) -> str:
    """Subtitles as lines of text."""
    return "\n".join(cue.text for cue in cues)


def between_frames(cues: tuple[Cue, ...], times: tuple[float, ...]) -> tuple[str, ...]:
    """The subtitles before each frame, and after the last one: one text more than frames.

    A cue stands before the first frame that is later than its middle, as in LongVideoBench's own
    format.
    """
    places = [bisect_right(times, (cue.start + cue.end) / 2) for cue in cues]
    return tuple(
        heard(tuple(cue for cue, place in zip(cues, places, strict=True) if place == i))
        for i in range(len(times) + 1)
    )


def _letter(sample: Sample, cues: tuple[Cue, ...]) -> str:
    subtitles = f"Subtitles:\n{heard(cues)}\n\n" if cues else ""
    if not sample.options:
        return f"{subtitles}{sample.question}\nAnswer with a number only."
    if sample.is_yes_no:
        return f"{subtitles}{sample.question}\nAnswer with yes or no only."
    return (
        f"{subtitles}{sample.question}\n{lettered(sample)}\n"
        "Answer with the letter of the right option only."
    )


def letter_after_option(question: str, options: tuple[str, ...]) -> str:
    """``QUESTION options blue A red B ...``: small models bind a letter to what precedes it."""
    pairs = zip(options, LETTERS, strict=False)
    return " ".join([question, "options", *(f"{option} {letter}" for option, letter in pairs)])


def _letter_after_option(sample: Sample, cues: tuple[Cue, ...]) -> str:
    return letter_after_option(sample.question, sample.options)


LETTER = Prompt("letter/1", _letter)
LETTER_AFTER_OPTION = Prompt("letter_after_option/1", _letter_after_option)


def find_prompt(name: str, prompts: Mapping[str, Prompt]) -> Prompt:
    """The prompt of that name.

    Raises:
        UserError: There is none; the message names the nearest.
    """
    if name in prompts:
        return prompts[name]
    near = get_close_matches(name, prompts, n=1, cutoff=0.0)
    raise UserError(
        f"no prompt is called {name!r} here; did you mean {near[0]!r}? "
        f"(known: {', '.join(prompts)})"
    )


def said(prompt: Prompt, sample: Sample, cues: tuple[Cue, ...]) -> str:
    """The user's text of a sample, without any chat template.

    Raises:
        UserError: The sample has more options than there are letters.
    """
    if len(sample.options) > len(LETTERS):
        raise UserError(
            f"sample {sample.id} has {len(sample.options)} options, but there are only "
            f"{len(LETTERS)} letters; drop it or shorten its options"
        )
    return prompt.words(sample, cues)


COMMON: Mapping[str, Prompt] = MappingProxyType(
    {"letter": LETTER, "letter_after_option": LETTER_AFTER_OPTION}
)
