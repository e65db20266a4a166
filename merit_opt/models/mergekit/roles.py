"""Which model of a mergekit file is the VLM, which its backbone, which their common ancestor."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from merit_opt.errors import UserError


@dataclass(frozen=True, slots=True)
class Roles:
    """The models of a pair, or of a file: folders, or repositories with or without a revision.

    Attributes:
        vlm: The VLM.
        backbone: Its backbone.
        base: The ancestor of both, where task vectors are taken from one.
    """

    vlm: str
    backbone: str
    base: str | None


def roles_of(models: Sequence[str], ancestor: str | None, pair: Roles) -> Roles:
    """The roles of a file's models: by the pair's names, and else the VLM is named first.

    Args:
        models: Every model of the file, each once, without `ancestor`.
        ancestor: The model that the file subtracts from both others.
        pair: The models that the recipe is for.

    Raises:
        UserError: The file has another number of models, or the ancestor is one of the pair.
    """
    if len(models) != 2:
        raise UserError(
            "a recipe merges two models, the VLM and its backbone (and a base_model beside them "
            "in ties and task_arithmetic alone); "
            f"the file names {len(models)}: {', '.join(models)[:200]}"
        )
    if ancestor is not None and any(_is(ancestor, one) for one in (pair.vlm, pair.backbone)):
        raise UserError(
            f"base_model {ancestor} is one of the pair, and the file merges two models beside it; "
            "a recipe's task vectors start from an ancestor of both"
        )
    first, second = models
    names_vlm_second = _is(second, pair.vlm) or _is(first, pair.backbone)
    if names_vlm_second and not _is(first, pair.vlm):
        first, second = second, first
    return Roles(first, second, ancestor)


def _is(model: str, known: str) -> bool:
    """Whether both name one folder or repository, at whatever revision."""
    found = {os.path.abspath(name) for name in (model, model.partition("@")[0])}
    return os.path.abspath(known) in found
