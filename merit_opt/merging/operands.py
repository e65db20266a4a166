"""What a rule is applied to."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Operands:
    """One tensor as each model has it, all of one shape, floating dtype and device.

    Attributes:
        name: Which tensor of the model it is, such as `layers.3.self_attn.q_proj.weight`; with a
            rule's seed it makes the random masks.
        vlm: The VLM's.
        backbone: The backbone's.
        base: That of the model both grew from; None where it is not known.

    Raises:
        ValueError: Shapes or dtypes differ.
    """

    name: str
    vlm: Tensor
    backbone: Tensor
    base: Tensor | None

    def __post_init__(self) -> None:
        for other in (self.backbone, self.base):
            if other is None:
                continue
            if self.vlm.shape != other.shape or self.vlm.dtype != other.dtype:
                raise ValueError(
                    f"cannot merge {tuple(self.vlm.shape)} {self.vlm.dtype} with "
                    f"{tuple(other.shape)} {other.dtype}; shapes and dtypes must be equal"
                )
