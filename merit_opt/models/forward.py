"""A pack through the language model: hidden states in, log-probabilities of answers out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import linear

from merit_opt.errors import TrialFailed
from merit_opt.models.attention import PackLayout, pack_layout, packed
from merit_opt.models.pack import Pack, Question
from merit_opt.models.pair import ModelPair
from merit_opt.models.rope import require_float32_rope


def embed(pair: ModelPair, pack: Pack) -> Tensor:
    """Input of layer 0, [1, rows, hidden] in the compute dtype: the frozen features in place."""
    embeddings = pair.model.get_input_embeddings()(pack.input_ids.to(pair.device)[None])
    tokens = pack.features.tokens.to(embeddings)
    embeddings[0, pack.is_visual.to(embeddings.device)] = tokens
    return embeddings


def run_layers(pair: ModelPair, pack: Pack, hidden: Tensor, start: int, stop: int) -> Tensor:
    """Through decoder layers `start` to `stop` - 1.

    Args:
        pair: With the live model, merged or not.
        pack: Gives positions and who sees whom.
        hidden: [1, rows, hidden], the input of layer `start`.
        start: First layer.
        stop: One past the last layer.

    Returns:
        [1, rows, hidden], the input of layer `stop`.

    Raises:
        RuntimeError: RoPE frequencies are not float32.
    """
    decoder = pair.model.get_decoder()
    with packed(decoder):
        return _through(pair, pack, _state(decoder, pack, hidden), start, stop).hidden


def finish(pair: ModelPair, pack: Pack, hidden: Tensor, start: int) -> Tensor:
    """From the input of layer `start` to what the last layer makes of the rows that are read.

    The last layer's MLP, most of it, is computed for those rows alone.

    Returns:
        [1, reads, hidden], in the order of the pack.
    """
    decoder = pair.model.get_decoder()
    last = decoder.layers[-1]
    with packed(decoder):
        state = _state(decoder, pack, hidden)
        state = _through(pair, pack, state, start, pair.n_layers - 1)
        state = state.on(pair.layer_device(pair.n_layers - 1))
        attended, _ = last.self_attn(last.input_layernorm(state.hidden), **state.options)
    rows = pack.read_rows.to(attended.device)
    read = state.hidden[:, rows] + attended[:, rows]
    return read + last.mlp(last.post_attention_layernorm(read))


@dataclass(frozen=True, eq=False, slots=True)
class _State:
    """What goes from layer to layer."""

    hidden: Tensor
    positions: tuple[Tensor, Tensor]
    layout: PackLayout

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of a decoder layer, and of its attention."""
        return {
            "attention_mask": None,
            "position_ids": None,
            "past_key_values": None,
            "use_cache": False,
            "position_embeddings": self.positions,
            "pack_layout": self.layout,
        }

    def on(self, device: torch.device) -> Self:
        """The same, all of it on `device`, where the next layer lies."""
        cos, sin = self.positions
        layout = replace(self.layout, mask=self.layout.mask.to(device))
        return replace(
            self,
            hidden=self.hidden.to(device),
            positions=(cos.to(device), sin.to(device)),
            layout=layout,
        )


def _state(decoder: Any, pack: Pack, hidden: Tensor) -> _State:
    require_float32_rope(decoder.rotary_emb)
    return _State(
        hidden,
        decoder.rotary_emb(hidden, _batched(pack.position_ids.to(hidden.device))),
        pack_layout(pack.prefix, pack.suffixes, hidden.device, pack.hidden),
    )


def _through(pair: ModelPair, pack: Pack, state: _State, start: int, stop: int) -> _State:
    layers = pair.model.get_decoder().layers
    for index in range(start, stop):
        state = state.on(pair.layer_device(index))
        hidden = layers[index](state.hidden, **state.options)
        state = replace(state, hidden=_deepstack(pack, hidden, index))
    return state


def read_answers(pair: ModelPair, pack: Pack, read: Tensor) -> list[list[float]]:
    """As `answer_rows`, in plain numbers."""
    return [row.tolist() for row in answer_rows(pair, pack, read)]


def answer_rows(pair: ModelPair, pack: Pack, read: Tensor) -> list[Tensor]:
    """Natural-log probabilities of each question's labels, or of each token of its answer.

    Labels' sum to 1 over them, each label's tokens taken together; those of an answer's tokens
    are normalised over the vocabulary.

    Args:
        pair: Gives final norm and head.
        pack: In whose order the answers come.
        read: [1, reads, hidden], what the last layer made of the rows that are read.

    Returns:
        float32, one row a question.

    Raises:
        TrialFailed: A logit is not finite; the message names the sample.
    """
    head = pair.model.get_output_embeddings()
    norm = pair.model.get_decoder().norm
    normed = norm(read[0].to(norm.weight.device)).to(head.weight.device)
    rows = [*_of_labels(head, pack, normed), *_of_answers(head, pack, normed)]
    found = dict(rows)
    for question, row in found.items():
        if not torch.isfinite(row).all():
            raise TrialFailed(
                f"sample {question.id}: logits are not finite, from "
                f"{_first_non_finite(pair, pack)} on"
            )
    return [found[question] for question in pack.questions]


def _of_labels(head: Any, pack: Pack, normed: Tensor) -> Iterator[tuple[Question, Tensor]]:
    """Questions whose labels compete, those of the same labels at once."""
    asked = dict[tuple[tuple[int, ...], ...], list[tuple[int, Question]]]()
    for row, question in zip(pack.first_reads, pack.questions, strict=True):
        if not question.answer:
            asked.setdefault(question.labels, []).append((row, question))
    ids = list(dict.fromkeys(token for labels in asked for forms in labels for token in forms))
    if not ids:
        return
    logits = _logits(head, normed, ids)
    place = {token: i for i, token in enumerate(ids)}
    for labels, questions in asked.items():
        of_rows = logits[[row for row, _ in questions]]
        forms = [of_rows[:, [place[t] for t in tokens]].logsumexp(-1) for tokens in labels]
        found = torch.stack(forms, dim=-1).log_softmax(-1)
        yield from zip((q for _, q in questions), found, strict=True)


def _of_answers(head: Any, pack: Pack, normed: Tensor) -> Iterator[tuple[Question, Tensor]]:
    """Questions about an answer's likelihood, one by one: their logits are of all tokens."""
    for row, question in zip(pack.first_reads, pack.questions, strict=True):
        if question.answer:
            own = normed[row : row + question.reads]
            found = _logits(head, own, slice(None)).log_softmax(-1)
            tokens = torch.tensor(question.answer, device=found.device)
            yield question, found.gather(1, tokens[:, None])[:, 0]


def _logits(head: Any, normed: Tensor, ids: list[int] | slice) -> Tensor:
    """float32 [rows, ids]."""
    return linear(normed, head.weight[ids], None if head.bias is None else head.bias[ids]).float()


def _batched(position_ids: Tensor) -> Tensor:
    """[axes, rows] as rotary embeddings take it: [axes, 1, rows], or [1, rows] of one axis."""
    return position_ids if len(position_ids) == 1 else position_ids[:, None]


def _deepstack(pack: Pack, hidden: Tensor, layer: int) -> Tensor:
    if layer >= len(pack.features.deepstack):
        return hidden
    visual = pack.is_visual.to(hidden.device)
    hidden[0, visual] += pack.features.deepstack[layer].to(hidden)
    return hidden


def _first_non_finite(pair: ModelPair, pack: Pack) -> str:
    hidden = embed(pair, pack)
    if not torch.isfinite(hidden).all():
        return "the embeddings and visual features"
    for layer in range(pair.n_layers):
        hidden = run_layers(pair, pack, hidden, layer, layer + 1)
        if not torch.isfinite(hidden).all():
            return f"layer {layer}"
    return "the final norm and head"
