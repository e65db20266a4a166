"""How a question and its options become the user's text, by name."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from merit_opt.data.sample import LETTERS, Sample
from merit_opt.errors import UserError

Prompt = Callable[[str, tuple[str, ...]], str]


def letter_after_option(question: str, options: tuple[str, ...]) -> str:
    """``QUESTION options blue A red B ...``: small models bind a letter to what precedes it."""
    pairs = zip(options, LETTERS, strict=False)
    return " ".join([question, "options", *(f"{option} {letter}" for option, letter in pairs)])


PROMPTS: Mapping[str, Prompt] = MappingProxyType({"letter_after_option": letter_after_option})


def find_prompt(name: str) -> Prompt:
    """The prompt of that name.

    Raises:
        UserError: There is none; the message names the nearest.
    """
    if name in PROMPTS:
        return PROMPTS[name]
    near = get_close_matches(name, PROMPTS, n=1, cutoff=0.0)
    raise UserError(
        f"no prompt is called {name!r}; did you mean {near[0]!r}? (known: {', '.join(PROMPTS)})"
    )


def render_prompt(name: str, sample: Sample) -> str:
    """The user's text of a sample, without any chat template.

    Raises:
        UserError: No prompt has that name, or the sample has more options than letters.
    """
    if len(sample.options) > len(LETTERS):
        raise UserError(
            f"sample {sample.id} has {len(sample.options)} options, but there are only "
            f"{len(LETTERS)} letters; drop it or shorten its options"
        )
    return find_prompt(name)(sample.question, sample.options)
