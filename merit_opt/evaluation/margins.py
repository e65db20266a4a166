"""Margins as torch sees them: what the scorers compute in plain numbers, to be differentiated."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from merit_opt.data.sample import Number, Sample
from merit_opt.data.suite import ScorerName, Suite
from merit_opt.errors import UserError

Options = Callable[[int, Sequence[Tensor]], Tensor]
"""From the number of options and a sample's rows to natural logs over the options."""


def margin(sample: Sample, rows: Sequence[Tensor], scorer: ScorerName) -> Tensor | None:
    """As `Score.margin`: the right option's log-probability above the best other's.

    Args:
        sample: As the suite has it.
        rows: Natural-log probabilities, a row each question that the sample became.
        scorer: Who scores it.

    Returns:
        A 0-d tensor; None where there is no other option.
    """
    if isinstance(sample.answer, Number) or len(sample.options) < 2:
        return None
    found = OPTIONS[scorer](len(sample.options), rows)
    others = torch.cat([found[: sample.answer], found[sample.answer + 1 :]])
    return found[sample.answer] - others.max()


def require_margins(suite: Suite, wanted_by: str) -> None:
    """Refuse a suite whose scores have no derivative.

    Raises:
        UserError: Its answers are in the model's own words.
    """
    if suite.asking.scorer not in OPTIONS:
        raise UserError(
            f"{wanted_by} differentiates the margin of the right option, and "
            f"suite.scorer={suite.asking.scorer} gives none; give suite.scorer=letter_logprob or "
            "option_loglik"
        )


def _of_letters(n: int, rows: Sequence[Tensor]) -> Tensor:
    return _mean([row.roll(r) for r, row in enumerate(rows)])


def _of_texts(n: int, rows: Sequence[Tensor]) -> Tensor:
    likelihoods = torch.stack([row.mean() for row in rows])
    return _mean(list(likelihoods.reshape(-1, n).log_softmax(-1)))


def _mean(rows: Sequence[Tensor]) -> Tensor:
    """Logs of the mean probabilities."""
    return torch.stack(list(rows)).logsumexp(0) - math.log(len(rows))


OPTIONS: Mapping[str, Options] = MappingProxyType(
    {"letter_logprob": _of_letters, "option_loglik": _of_texts}
)
