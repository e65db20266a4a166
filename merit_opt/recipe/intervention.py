"""What is done to layers to see what they are for: a value, like a recipe."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from merit_opt.errors import UserError

MaskedPart = Literal["attention", "mlp"]
MASKED_PARTS: tuple[MaskedPart, ...] = get_args(MaskedPart)
How = Literal["inverse_width", "zero", "mean", "revert"]
HOWS: tuple[How, ...] = get_args(How)


@dataclass(frozen=True, slots=True)
class Redraw:
    """Every matrix that a merge may touch drawn anew, to see whether anything was due to it.

    From the normal distribution with the matrix's own mean and standard deviation; embeddings,
    biases and norms stay.

    Attributes:
        seed: Of the draws.
    """

    seed: int


@dataclass(frozen=True, slots=True)
class Intervention:
    """One module of some layers put out of action.

    Attributes:
        layers: Ascending, at least one; 0 nearest the embeddings.
        part: Which module of them.
        how: `inverse_width`: every weight matrix of the module holds 1 / N, N its output features.
            `zero`: the module adds nothing to the residual stream. `mean`: it adds its mean output
            over all tokens of a suite. `revert`: it has the VLM's weights again.
        head_group: One key/value head with the query heads that read it, alone; None the whole
            module.

    Raises:
        UserError: Layers are none, repeated or out of order, or an MLP is asked for its heads.
    """

    layers: tuple[int, ...]
    part: MaskedPart
    how: How
    head_group: int | None = None

    def __post_init__(self) -> None:
        if not self.layers or tuple(sorted(set(self.layers))) != self.layers:
            raise UserError(f"layers to mask are one or more, ascending; got {self.layers}")
        if self.head_group is not None and self.part != "attention":
            raise UserError(f"an {self.part.upper()} has no heads; head groups are of attention")

    @property
    def digest(self) -> str:
        """12 hex digits over all of it."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
