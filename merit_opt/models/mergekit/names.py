"""What mergekit calls a VLM's tensors, and the models of a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from merit_opt.errors import UserError
from merit_opt.models.checkpoint import Checkpoint
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.source import PairSource
from merit_opt.recipe.recipe import Part


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """One mergeable tensor of the VLM.

    Attributes:
        name: Its name on disk, such as `model.layers.3.self_attn.q_proj.weight`.
        layer: Decoder layer, 0 nearest the embeddings.
        part: The part it belongs to.
    """

    name: str
    layer: int
    part: Part


def prefix_of(tensors: Sequence[NamedTensor]) -> str:
    """What stands before the layer number in every name, such as `model.layers.`.

    Raises:
        UserError: The names have no such beginning in common.
    """
    common: set[str] | None = None
    for tensor in tensors:
        words = tensor.name.split(".")
        places = (i for i, word in enumerate(words) if word == str(tensor.layer))
        found = {"".join(f"{word}." for word in words[:i]) for i in places}
        common = found if common is None else common & found
    if not common:
        raise UserError("the VLM's mergeable tensors do not lie in one stack of numbered layers")
    return min(common, key=len)


def roles_in(source: PairSource) -> Roles:
    """The models of a pair as mergekit finds them.

    Raises:
        UserError: mergekit would take a part of a folder's name for a revision.
    """
    base = source.base_checkpoint
    return Roles(
        vlm=_model_name(source.vlm_checkpoint),
        backbone=_model_name(source.backbone_checkpoint),
        base=None if base is None else _model_name(base),
    )


def _model_name(checkpoint: Checkpoint) -> str:
    """A folder, or `OWNER/NAME@REVISION` where one is given."""
    if "@" in checkpoint.name:
        raise UserError(
            f"mergekit reads what follows the @ in {checkpoint.name} as a revision; rename the "
            "folder"
        )
    if checkpoint.revision is None:
        return checkpoint.name
    return f"{checkpoint.name}@{checkpoint.revision}"
