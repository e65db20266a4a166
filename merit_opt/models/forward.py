"""Questions in, log-probabilities of their option letters out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from merit_opt.data.sample import LETTERS
from merit_opt.errors import TrialFailed, UserError
from merit_opt.models.families.family import EncodedPrompt, VideoFeatures
from merit_opt.models.pair import ModelPair


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """One sample, encoded.

    Attributes:
        id: The sample's id.
        prompt: Token and position ids.
        features: The video's; shared by all its questions.
        n_options: How many letters compete.
    """

    id: str
    prompt: EncodedPrompt
    features: VideoFeatures
    n_options: int


def letter_ids(pair: ModelPair, n_options: int) -> list[int]:
    """Token ids of the first `n_options` letters.

    Raises:
        UserError: The tokenizer splits a letter into several tokens.
    """
    tokenizer = pair.processor.tokenizer
    ids = [tokenizer.encode(letter, add_special_tokens=False) for letter in LETTERS[:n_options]]
    split = [LETTERS[i] for i, tokens in enumerate(ids) if len(tokens) != 1]
    if split:
        raise UserError(f"this tokenizer has no single token for the letters {split}")
    return [tokens[0] for tokens in ids]


@torch.no_grad()
def letter_log_probabilities(
    pair: ModelPair, model: Any, questions: Sequence[Question]
) -> list[list[float]]:
    """Natural-log probabilities of each question's option letters, summing to 1 over them.

    Args:
        pair: Gives family and tokenizer.
        model: The live model, merged or not.
        questions: Of one prompt length.

    Raises:
        TrialFailed: A logit is not finite; the message names the sample and the layer.
    """
    inputs = _inputs(pair, model, questions)
    logits: Tensor = model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()
    ids = torch.tensor(letter_ids(pair, max(q.n_options for q in questions)), device=logits.device)
    rows = [
        row[: question.n_options].log_softmax(-1)
        for row, question in zip(logits[:, ids], questions, strict=True)
    ]
    for row, question in zip(rows, questions, strict=True):
        if not torch.isfinite(row).all():
            layer = _first_non_finite_layer(pair, model, question)
            raise TrialFailed(
                f"sample {question.id}: logits are not finite, from layer {layer} on"
            )
    return [row.tolist() for row in rows]


def _inputs(pair: ModelPair, model: Any, questions: Sequence[Question]) -> dict[str, Tensor]:
    return pair.family.forward_inputs(
        model, [q.prompt for q in questions], [q.features for q in questions]
    )


def _first_non_finite_layer(pair: ModelPair, model: Any, question: Question) -> int:
    inputs = _inputs(pair, model, [question])
    states = model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
    finite = [bool(torch.isfinite(state).all()) for state in states[1:]]
    return finite.index(False) if False in finite else len(finite)
