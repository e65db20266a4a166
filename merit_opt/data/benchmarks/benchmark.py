"""What a public benchmark says about itself: only what differs from one to the next."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, heard, lettered
from merit_opt.data.sample import LETTERS, Cue, Flag, Sample
from merit_opt.data.suite import Aggregate
from merit_opt.data.tables import Row

MICRO = (Aggregate("accuracy", "mean"),)

DIRECTLY = "Answer with the option's letter from the given choices directly."
JUDGED = "its answer is open, and only a judge could tell whether one is right"
NO_GOLD = "its right answer is not exactly one of its options"
HIDDEN = "its right answer is kept back by its authors"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of a benchmark that is no sample here.

    Attributes:
        id: As a sample's.
        reason: Why; the same words for all rows that it holds of.
    """

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A dataset in its official layout.

    Attributes:
        name: As in `suite=NAME`.
        repo: Its dataset repository on the hub; None where there is none.
        revision: The commit of the repository that was read; None where none could be pinned.
        files: Glob patterns, in the repository, of annotations and media, by variant.
        read: (the user's copy, variant) -> its rows, in the benchmark's own order.
        published: Rows by variant, as its authors count them; none of a variant that they do not.
        role_field: The category field that roles are of.
        aggregates: What it reports, by variant.
        prompts: Its own, by name: `lmms`, `vlmevalkit`, `official` where they are known. One called
            `VARIANT/NAME` takes the place of NAME in that variant.
        licence: What its licence allows, in a few words.
    """

    name: str
    repo: str | None
    revision: str | None
    files: Mapping[str, tuple[str, ...]]
    read: Callable[[DatasetCopy, str], Iterable[Sample | LeftOut]]
    published: Mapping[str, int]
    role_field: str
    aggregates: Mapping[str, tuple[Aggregate, ...]]
    licence: str
    prompts: Mapping[str, Prompt] = field(default_factory=dict[str, Prompt])

    @property
    def variants(self) -> tuple[str, ...]:
        """The first is the usual one."""
        return tuple(self.files)

    def prompts_of(self, variant: str) -> Mapping[str, Prompt]:
        """Those that a variant can be asked with, by name."""
        common = {name: prompt for name, prompt in self.prompts.items() if "/" not in name}
        own = f"{variant}/"
        return common | {
            name.removeprefix(own): prompt
            for name, prompt in self.prompts.items()
            if name.startswith(own)
        }


def unlettered(options: Iterable[str]) -> tuple[str, ...]:
    """``A. Apples.`` or ``(A) Apples.`` -> ``Apples.``, where every option has its own letter."""
    given = tuple(options)
    found = [_LETTERED.fullmatch(option) for option in given]
    letters = "".join(match["letter"] for match in found if match is not None)
    if len(letters) < len(given) or not LETTERS.startswith(letters):
        return given
    return tuple(match["text"] for match in found if match is not None)


_LETTERED = re.compile(r"\s*\(?(?P<letter>[A-Z])[.:)]\s*(?P<text>.*)", re.DOTALL)


def answer_index(gold: str, options: tuple[str, ...]) -> int | None:
    """Where the right text stands among the options; None where it is not one, or is twice."""
    return options.index(gold) if options.count(gold) == 1 else None


def letter_index(gold: str, options: tuple[str, ...]) -> int | None:
    """Which option the letter names; None where there is no such option."""
    index = LETTERS.find(gold) if len(gold) == 1 else -1
    return index if 0 <= index < len(options) else None


def values(row: Row, fields: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The fields that the row has, as categories."""
    return tuple((field, str(row[field])) for field in fields if row.get(field) is not None)


def choosing(name: str, after: str) -> Prompt:
    """The prompt of most toolkits: the question, its options a line each, and what to do.

    Subtitles, where there are any, come first.
    """

    def words(sample: Sample, cues: tuple[Cue, ...]) -> str:
        subtitles = f"{heard(cues)}\n" if cues else ""
        return f"{subtitles}{sample.question}\n{lettered(sample)}{after}"

    return Prompt(name, words)


def odd(options: tuple[str, ...]) -> tuple[Flag, ...]:
    """The flags that options alone give."""
    return tuple(_odd(options))


def _odd(options: tuple[str, ...]) -> Iterator[Flag]:
    if len(set(options)) < len(options):
        yield "duplicate options"
    if len(options) == 1:
        yield "single option"
