"""How two tensors become one, as values; `merit_opt.merging` holds the arithmetic."""

from dataclasses import dataclass

from merit_opt.errors import UserError


@dataclass(frozen=True, slots=True)
class Lerp:
    """Linear interpolation ``(1 - coefficient) * vlm + coefficient * backbone``.

    Attributes:
        coefficient: In (0, 1]; 1 is the backbone's tensor. Zero is not a merge: a recipe says
            "keep the VLM's" with None.

    Raises:
        UserError: The coefficient is not a number in (0, 1].
    """

    coefficient: float

    def __post_init__(self) -> None:
        if not 0.0 < self.coefficient <= 1.0:
            raise UserError(
                f"a merge coefficient must lie in (0, 1], got {self.coefficient!r}; "
                "to keep the VLM's weights leave the layer out of the recipe"
            )
        # 1 and 1.0 are equal, so their JSON and digest must be too.
        object.__setattr__(self, "coefficient", float(self.coefficient))


@dataclass(frozen=True, slots=True)
class Slerp:
    """Spherical interpolation from the VLM's tensor to the backbone's.

    Attributes:
        coefficient: In (0, 1], as in `Lerp`.

    Raises:
        UserError: The coefficient is not a number in (0, 1].
    """

    coefficient: float

    def __post_init__(self) -> None:
        if not 0.0 < self.coefficient <= 1.0:
            raise UserError(
                f"a merge coefficient must lie in (0, 1], got {self.coefficient!r}; "
                "to keep the VLM's weights leave the layer out of the recipe"
            )
        # 1 and 1.0 are equal, so their JSON and digest must be too.
        object.__setattr__(self, "coefficient", float(self.coefficient))


Rule = Lerp | Slerp


def lerp(coefficient: float) -> Lerp | None:
    """The rule at a coefficient in [0, 1]; 0 is None, since mask 0 and coefficient 0 are one."""
    return Lerp(float(coefficient)) if coefficient else None
