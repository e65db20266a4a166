"""What a public benchmark says about itself: only what differs from one to the next."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from merit_opt.data.copy import DatasetCopy
from merit_opt.data.prompts import Prompt
from merit_opt.data.sample import Flag, Sample
from merit_opt.data.suite import Aggregate

NO_PROMPTS: Mapping[str, Prompt] = MappingProxyType({})
MICRO = (Aggregate("accuracy", "mean"),)


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
        published: Rows by variant, as its authors count them.
        role_field: The category field that roles are of.
        aggregates: What it reports, by variant.
        prompts: Its own, by name: `lmms`, `vlmevalkit`, `official` where they are known.
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
    prompts: Mapping[str, Prompt] = field(default_factory=lambda: NO_PROMPTS)

    @property
    def variants(self) -> tuple[str, ...]:
        """The first is the usual one."""
        return tuple(self.files)


def unlettered(options: Iterable[str]) -> tuple[str, ...]:
    """``A. Apples.`` or ``(A) Apples.`` -> ``Apples.``, where every option has its own letter."""
    raise NotImplementedError


def answer_index(gold: str, options: tuple[str, ...]) -> int | None:
    """Where the right text stands among the options; None where it is not one, or is twice."""
    return options.index(gold) if options.count(gold) == 1 else None


def odd(options: tuple[str, ...]) -> tuple[Flag, ...]:
    """The flags that options alone give."""
    return tuple(_odd(options))


def _odd(options: tuple[str, ...]) -> Iterator[Flag]:
    if len(set(options)) < len(options):
        yield "duplicate options"
    if len(options) == 1:
        yield "single option"
