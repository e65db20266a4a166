"""What a sample is asked, and how log-probabilities become its score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from merit_opt.data.sample import Number, Sample
from merit_opt.data.suite import ScorerName
from merit_opt.evaluation.evaluation import Score
from merit_opt.evaluation.parser import named_figures, named_labels

SCORERS = "letter_logprob/3 option_loglik/2 generate/2"
Rows = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of those that a sample becomes.

    Attributes:
        sample: With its options in the order to show them in.
        answer: Whose likelihood is wanted; None where labels compete, or the model speaks.
    """

    sample: Sample
    answer: str | None = None


class Scorer(Protocol):
    """From a sample to questions, and from what they read to its score."""

    def asked(self, sample: Sample, permutations: int) -> list[Asked]:
        """The questions, in the order of their rows."""
        ...

    def score(self, sample: Sample, rows: Rows) -> Score:
        """The score.

        Args:
            sample: As the suite has it.
            rows: Natural-log probabilities, a row each question: of the labels in the order shown,
                or of an answer's tokens.
        """
        ...


class Letters:
    """The labels of the options compete to be the answer's first token."""

    def asked(self, sample: Sample, permutations: int) -> list[Asked]:
        """One question for each order of the options."""
        return [Asked(turned) for turned in rotations(sample, permutations)]

    def score(self, sample: Sample, rows: Rows) -> Score:
        """Each option's probability is the mean over the orders it was shown in."""
        n = len(sample.options)
        return score_options(
            sample, _mean([[*row[n - r :], *row[: n - r]] for r, row in enumerate(rows)])
        )


class FullText:
    """The options' own words compete, by their log-likelihood per token."""

    def asked(self, sample: Sample, permutations: int) -> list[Asked]:
        """For each order of the options one question an option, in the sample's own order."""
        orders = rotations(sample, permutations)
        return [Asked(turned, option) for turned in orders for option in sample.options]

    def score(self, sample: Sample, rows: Rows) -> Score:
        """Normalised over the options, then the mean over the orders they were shown in."""
        n = len(sample.options)
        likelihoods = [math.fsum(row) / len(row) for row in rows]
        orders = [likelihoods[i : i + n] for i in range(0, len(rows), n)]
        return score_options(sample, _mean([_normalised(order) for order in orders]))


PACKED: Mapping[ScorerName, Scorer] = MappingProxyType(
    {"letter_logprob": Letters(), "option_loglik": FullText()}
)


def rotations(sample: Sample, count: int) -> list[Sample]:
    """The sample with its options turned by 0, 1, ... places, at most as often as it has options.

    Yes and no, which have no order, and numbers are asked once.
    """
    if sample.is_yes_no or isinstance(sample.answer, Number):
        return [sample]
    options, right = sample.options, sample.answer
    return [sample] + [
        replace(sample, options=options[r:] + options[:r], answer=(right - r) % len(options))
        for r in range(1, min(count, len(options)))
    ]


def score_options(sample: Sample, log_probabilities: Sequence[float]) -> Score:
    """The most probable option against the right one; a tie goes to the earlier option.

    Args:
        sample: With as many options as there are numbers.
        log_probabilities: Natural logs over the options, in their order.
    """
    if isinstance(sample.answer, Number):
        raise TypeError(f"sample {sample.id} asks for a number, which has no options")
    chosen = max(range(len(sample.options)), key=log_probabilities.__getitem__)
    right = log_probabilities[sample.answer]
    others = [*log_probabilities[: sample.answer], *log_probabilities[sample.answer + 1 :]]
    return Score(
        value=1.0 if chosen == sample.answer else 0.0,
        answer=sample.labels[chosen],
        log_probability=right,
        margin=right - max(others) if others else None,
        probabilities=tuple(map(math.exp, log_probabilities)),
    )


def _mean(rows: Rows) -> Sequence[float]:
    """Logs of the mean probabilities; of one row that row itself."""
    return rows[0] if len(rows) == 1 else [_log_mean(column) for column in zip(*rows, strict=True)]


def _log_mean(logs: Sequence[float]) -> float:
    greatest = max(logs)
    return greatest + math.log(math.fsum(math.exp(x - greatest) for x in logs) / len(logs))


def _normalised(likelihoods: Sequence[float]) -> list[float]:
    total = _log_mean(likelihoods) + math.log(len(likelihoods))
    return [likelihood - total for likelihood in likelihoods]


def score_text(sample: Sample, text: str, called: Sequence[str]) -> Score:
    """What the model said, if it names one answer; else unscored, never wrong.

    Args:
        sample: What was asked.
        text: What was said.
        called: What the options were called, in their order.
    """
    if isinstance(sample.answer, Number):
        named = {str(f): f.is_right(sample.answer) for f in named_figures(text)}
    else:
        right = sample.labels[sample.answer]
        named = {label: label == right for label in named_labels(sample, text, called)}
    match list(named.items()):
        case [(answer, is_right)] if not sample.labels or answer in sample.labels:
            return Score(value=float(is_right), answer=answer, text=text)
        case [] | [_]:
            return Score(value=None, why="none", text=text)
        case _:
            return Score(value=None, why="ambiguous", text=text)
