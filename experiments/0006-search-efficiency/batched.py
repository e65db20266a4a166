"""Thousands of recipes on one pair: many packs a forward, begun where a known recipe parts.

The packs, the merge, the layers and the scores are the product's; what is added is that packs are
padded to one length, and that hidden states are kept by the merged layers below them.
Shapes: b packs, t rows of the longest, h hidden size.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from merit_opt.models.attention import pack_layout
from merit_opt.models.forward import embed
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import LayerMerge, Recipe

PACKS_AT_ONCE = 8
Prefix = tuple[LayerMerge, ...]
States = list[Tensor]


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """Packs padded to one length.

    Attributes:
        embedded: float [b, t, h], the input of layer 0.
        positions: Cosine and sine, each [b, t, head size].
        mask: bool [b, 1, t, t], true where a row sees a row; padding sees itself alone.
        reads: int64 [n] twice: the pack and the row where each question's answer is read.
    """

    embedded: Tensor
    positions: tuple[Tensor, Tensor]
    mask: Tensor
    reads: tuple[Tensor, Tensor]


class Batched:
    """Answers of recipes to the same questions.

    Args:
        pair: The live pair; its weights are as before after every call.
        packs: Letter questions with the same letters.
        kept: How many lists of hidden states of merged recipes to keep, at least 0; those of the
            unmerged model are kept beside them.
    """

    def __init__(self, pair: ModelPair, packs: Sequence[Pack], kept: int) -> None:
        self._pair = pair
        self._kept = kept
        starts = range(0, len(packs), PACKS_AT_ONCE)
        self._blocks = [_block(pair, packs[s : s + PACKS_AT_ONCE]) for s in starts]
        self._labels = _label_ids(packs)
        self._base: dict[int, States] = {}
        self._merged: OrderedDict[Prefix, States] = OrderedDict()

    @torch.inference_mode()
    def answers(self, recipe: Recipe) -> Tensor:
        """Natural-log probabilities of the letters, float32 [questions, letters], pack by pack."""
        with self._pair.merged(recipe):
            start, states = self._known(recipe)
            last = self._pair.n_layers - 1
            for layer in range(start, last):
                states = [self._through(layer, *both) for both in self._with(states)]
                self._keep(recipe.layers[: layer + 1], states)
            return torch.cat([self._read(*both) for both in self._with(states)])

    def _with(self, states: States) -> list[tuple[Block, Tensor]]:
        return list(zip(self._blocks, states, strict=True))

    def _known(self, recipe: Recipe) -> tuple[int, States]:
        """The last layer whose input is known under `recipe`, and that input."""
        for level in range(self._pair.n_layers - 1, 0, -1):
            below = recipe.layers[:level]
            if not any(layer.is_merged for layer in below):
                if level in self._base:
                    return level, self._base[level]
            elif below in self._merged:
                self._merged.move_to_end(below)
                return level, self._merged[below]
        return 0, [block.embedded for block in self._blocks]

    def _keep(self, below: Prefix, states: States) -> None:
        if not any(layer.is_merged for layer in below):
            self._base[len(below)] = states
            return
        self._merged[below] = states
        while len(self._merged) > self._kept:
            self._merged.popitem(last=False)

    def _through(self, layer: int, block: Block, hidden: Tensor) -> Tensor:
        module = self._pair.model.get_decoder().layers[layer]
        return module(hidden, attention_mask=block.mask, position_embeddings=block.positions)

    def _read(self, block: Block, hidden: Tensor) -> Tensor:
        """Through the last layer, whose MLP is computed for the rows that are read alone."""
        decoder, head = self._pair.model.get_decoder(), self._pair.model.get_output_embeddings()
        last = decoder.layers[-1]
        attended, _ = last.self_attn(
            last.input_layernorm(hidden),
            attention_mask=block.mask,
            position_embeddings=block.positions,
        )
        read = hidden[block.reads] + attended[block.reads]
        read = read + last.mlp(last.post_attention_layernorm(read))
        logits = linear(decoder.norm(read), head.weight[self._labels])
        return logits.float().log_softmax(-1)


def _label_ids(packs: Sequence[Pack]) -> list[int]:
    asked = {question.labels for pack in packs for question in pack.questions}
    (labels,) = asked
    if any(len(forms) != 1 for forms in labels):
        raise ValueError(f"a letter is one token here, got {labels}")
    return [token for (token,) in labels]


@torch.inference_mode()
def _block(pair: ModelPair, packs: Sequence[Pack]) -> Block:
    rows = max(pack.rows for pack in packs)
    hidden = [embed(pair, pack)[0] for pack in packs]
    embedded = hidden[0].new_zeros(len(packs), rows, hidden[0].shape[-1])
    positions = torch.zeros(3, len(packs), rows, dtype=torch.long)
    mask = torch.eye(rows, dtype=torch.bool).repeat(len(packs), 1, 1, 1)
    for i, pack in enumerate(packs):
        embedded[i, : pack.rows] = hidden[i]
        positions[:, i, : pack.rows] = pack.position_ids
        mask[i, 0, : pack.rows, : pack.rows] = _sees(pack)
    owners = torch.tensor([i for i, pack in enumerate(packs) for _ in pack.questions])
    places = torch.cat([pack.read_rows for pack in packs])
    rotary: Any = pair.model.get_decoder().rotary_emb
    return Block(embedded, rotary(embedded, positions), mask, (owners, places))


def _sees(pack: Pack) -> Tensor:
    """bool [rows, rows], as the pack's layout says."""
    layout = pack_layout(pack.prefix, pack.suffixes, torch.device("cpu"))
    sees = torch.ones(pack.rows, pack.rows, dtype=torch.bool).tril()
    sees[pack.prefix :] = layout.mask[0, 0]
    return sees
