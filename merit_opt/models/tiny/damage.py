"""What is planted in a tiny VLM: which layers lose temporal reasoning, and which only look it."""

from collections.abc import Sequence
from dataclasses import dataclass

from merit_opt.errors import UserError
from merit_opt.models.tiny.decoys import require_decoys
from merit_opt.models.tiny.stages import PERCEPTION_LAYERS


@dataclass(frozen=True, slots=True)
class Damage:
    """Layers of one planted VLM.

    Attributes:
        groups: Layers to damage, those of a group together, each group enough by itself; not 0 to
            2, which come to carry perception.
        decoys: Which others to change much without harm, with the signs of values turned.
        natural_decoys: Decoys that training alone moves.
    """

    groups: tuple[tuple[int, ...], ...]
    decoys: tuple[int, ...] = ()
    natural_decoys: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """All that are damaged, ascending."""
        return tuple(sorted(layer for group in self.groups for layer in group))

    @property
    def moved(self) -> tuple[int, ...]:
        """All decoys, ascending."""
        return tuple(sorted((*self.decoys, *self.natural_decoys)))

    @property
    def name(self) -> str:
        """A folder for the VLM."""
        damaged = "_and_".join("_".join(map(str, group)) for group in self.groups)
        decoys = "".join(f"_decoy_{layer}" for layer in self.moved)
        return f"vlm_planted_{damaged}{decoys}"

    def require(self, n_layers: int) -> None:
        """All of them must be different layers of a model, behind those of perception.

        Raises:
            UserError: They are not.
        """
        layers, allowed = self.layers, range(len(PERCEPTION_LAYERS), n_layers)
        once = len(set(layers)) == len(layers) and all(self.groups)
        if not layers or not once or not set(layers) <= set(allowed):
            raise UserError(
                f"layers must be one or more different ones of {allowed[0]} to {allowed[-1]}, got "
                f"{listed(self.groups) or 'none'}; layers 0 to {allowed[0] - 1} come to carry "
                "perception"
            )
        require_decoys(self.moved, layers, allowed)


def listed(groups: Sequence[Sequence[int]]) -> str:
    """Damaged layers in words: "3, 5" together, "3 | 6" each enough by itself."""
    return " | ".join(", ".join(map(str, group)) for group in groups)
