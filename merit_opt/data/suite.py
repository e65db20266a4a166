"""A named, versioned list of samples with everything that shapes its scores."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Literal, Self

from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.identity import medium_identity
from merit_opt.data.prompts import Prompt
from merit_opt.data.sample import Sample
from merit_opt.errors import UserError

Role = Literal["TR", "TP", "other"]
ScorerName = Literal["letter_logprob", "option_loglik", "generate"]


@dataclass(frozen=True)
class Roles:
    """Which questions are about reasoning in time, and which about perceiving it.

    Attributes:
        category: The field of a sample's categories that decides.
        of: Its value -> role; values not named are `other`.
    """

    category: str
    of: Mapping[str, Role]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a model chooses the words of its answer.

    Attributes:
        how: `greedy`, or as the model's `own` generation settings say.
        max_new_tokens: At most so many, at least 1.
    """

    how: Literal["greedy", "own"]
    max_new_tokens: int

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(f"suite.max_new_tokens is 1 or more, got {self.max_new_tokens}")


@dataclass(frozen=True)
class Asking:
    """How questions are put and answers read.

    Attributes:
        prompt: What the model is told.
        frames: Which frames of a video it is shown.
        scorer: How an answer becomes a score.
        permutations: Orders of the options that each question is asked in, at least 1; the scores
            are their mean. One where the prompt's text is the same in all of them.
        decoding: Of answers in the model's own words; only of the scorer `generate`.

    Raises:
        UserError: Fewer than one order, or several of answers that have no probability.
    """

    prompt: Prompt
    frames: FramePlan
    scorer: ScorerName
    permutations: int
    decoding: Decoding | None = None

    def __post_init__(self) -> None:
        if self.permutations < 1:
            raise UserError(f"suite.permutations is 1 or more, got {self.permutations}")
        if (self.scorer == "generate") != (self.decoding is not None):
            raise ValueError("answers in a model's own words need a decoding, and only they")
        if self.scorer == "generate" and self.permutations > 1:
            raise UserError(
                f"suite.permutations={self.permutations} takes the mean of probabilities, which "
                "answers in a model's own words have not; give suite.permutations=1, or another "
                "suite.scorer than generate"
            )


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A number that a benchmark itself reports.

    Attributes:
        name: As the benchmark calls it.
        how: `mean` of the samples; `mean_of_means` of groups; `all_right`, the share of groups
            that have every sample right.
        by: The category field whose values make the groups; empty for `mean`.
        where: (field, value) that a sample must have to count.
    """

    name: str
    how: Literal["mean", "mean_of_means", "all_right"]
    by: str = ""
    where: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Suite:
    """Samples, and how they are asked and counted.

    Attributes:
        name: Short, as in `suite=NAME`.
        revision: Version of the samples.
        samples: In canonical order.
        asking: How they are asked.
        roles: Which are TR and which TP.
        aggregates: What the benchmark reports, beside the means by role.
        max_unusable: Share of the samples, in [0, 1), whose media may fail before a run is refused.
        left_out: Id of what is no sample -> why; told, and no part of the digest.
        published: Rows that its authors count, samples and left out; None where it is not known.
            Told, and no part of the digest.
    """

    name: str
    revision: str
    samples: tuple[Sample, ...]
    asking: Asking
    roles: Roles
    aggregates: tuple[Aggregate, ...]
    max_unusable: float
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    published: int | None = None

    @cached_property
    def digest(self) -> str:
        """12 hex digits over samples, media and how they are read, how all is asked, and roles."""
        rows = [
            [s.id, [medium_identity(m) for m in s.media], s.question, s.options, _answer(s),
             s.categories, s.group_id, s.is_yes_no, [(c.start, c.end, c.text) for c in s.subtitles]]
            for s in self.samples
        ]  # fmt: skip
        asking = [
            self.asking.prompt.name,
            asdict(self.asking.frames),
            self.asking.scorer,
            self.asking.permutations,
            *([asdict(self.asking.decoding)] if self.asking.decoding else []),
        ]
        roles = [self.roles.category, dict(self.roles.of)]
        value = [self.name, self.revision, asking, roles, rows]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

    def role(self, sample: Sample) -> Role:
        """What the sample's category makes it."""
        return self.roles.of.get(sample.category(self.roles.category) or "", "other")

    def only(self, ids: Iterable[str]) -> Self:
        """The same suite with only the samples named, in the same order."""
        wanted = frozenset(ids)
        return replace(self, samples=tuple(s for s in self.samples if s.id in wanted))


def _answer(sample: Sample) -> object:
    return sample.answer if isinstance(sample.answer, int) else asdict(sample.answer)
