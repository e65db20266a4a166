"""Which layers, parts and heads a pair has to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from merit_opt.errors import UserError
from merit_opt.models.alignment import decoder_layers
from merit_opt.models.masking import head_groups
from merit_opt.models.source import PairSource
from merit_opt.recipe.recipe import Part


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What of a pair decides which layers, parts and heads there are.

    Attributes:
        n_layers: Decoder layers.
        parts: What a merge may touch.
        head_groups: Key/value heads of each layer.
    """

    n_layers: int
    parts: tuple[Part, ...]
    head_groups: tuple[int, ...]

    def chosen(self, layers: Sequence[int] | None) -> tuple[int, ...]:
        """These layers, ascending, or all.

        Raises:
            UserError: There is no such layer.
        """
        if layers is None:
            return tuple(range(self.n_layers))
        outside = sorted(i for i in layers if not 0 <= i < self.n_layers)
        if outside or not layers:
            raise UserError(
                f"method.layers are of 0 to {self.n_layers - 1}, at least one; got {list(layers)}"
            )
        return tuple(sorted(set(layers)))

    def require_parts(self, parts: Sequence[Part]) -> None:
        """A merge must be able to touch these parts.

        Raises:
            UserError: It is not, or there are none.
        """
        if not parts or not set(parts) <= set(self.parts):
            raise UserError(
                f"method.parts are of {', '.join(self.parts)}, at least one; got {list(parts)}"
            )


def anatomy_of(source: PairSource) -> Anatomy:
    """A pair's, from its configuration alone: no weights are read."""
    layers: Any = decoder_layers(source.vlm_skeleton)
    return Anatomy(
        n_layers=source.alignment.n_layers,
        parts=source.alignment.parts,
        head_groups=tuple(head_groups(layer.self_attn).count for layer in layers),
    )
