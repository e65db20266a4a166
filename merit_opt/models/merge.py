"""What an export writes: the tensors that a recipe changes, each made when it is asked for."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.models.alignment import AlignedTensor
from merit_opt.models.card import Lineage, Measured, Parent, licence
from merit_opt.models.checkpoint import Checkpoint
from merit_opt.models.shards import Changes
from merit_opt.models.source import PairSource
from merit_opt.models.stored import StoredTensor, read_shard
from merit_opt.recipe.origin import Named, Origin
from merit_opt.recipe.recipe import Recipe
from merit_opt.recipe.rules import needs_base
from merit_opt.recipe.store import RECIPE_FILE, read_recipe, recipe_text

SCHEMA = 1
PROVENANCE = "merit_opt.json"
MEASURED = "measured"
DELTA = "delta.safetensors"
DELTA_SUM = "delta.sha256"


@dataclass(frozen=True, eq=False, slots=True)
class Merge:
    """A recipe applied to a pair, before anything is written.

    Attributes:
        recipe: The recipe.
        lineage: What is merged.
        dtype: Of every floating-point tensor.
        tensors: The VLM's tensors that change, in layer order.
        changes: Name on disk -> its new values.
    """

    recipe: Recipe
    lineage: Lineage
    dtype: torch.dtype
    tensors: tuple[StoredTensor, ...]
    changes: Changes

    @property
    def recipe_text(self) -> str:
        """What the export's own recipe file holds."""
        made = self.lineage
        vlm, backbone = _named(made.vlm), _named(made.backbone)
        origin = Origin(vlm, backbone, None if made.base is None else _named(made.base))
        return recipe_text(self.recipe, origin)

    def facts(self, form: str) -> dict[str, Any]:
        """What `merit_opt.json` says of an export in the form `hf` or `delta`."""
        lineage = asdict(self.lineage)
        return {"schema": SCHEMA, "format": form, "recipe": self.recipe.digest, "made_of": lineage}


def merge_of_recipe(source: PairSource, recipe: Recipe) -> Merge:
    """The recipe's merge, computed from the checkpoints.

    Raises:
        UserError: The recipe does not fit the pair; (a change) weights are not finite.
    """
    source.require(recipe)
    stored = source.stored
    tensors = [t for t in source.alignment.tensors if recipe.layers[t.layer].rule(t.part)]
    return Merge(
        recipe=recipe,
        lineage=Lineage(
            vlm=_parent(source.vlm_checkpoint),
            backbone=_parent(source.backbone_checkpoint),
            base=_parent(source.base_checkpoint)
            if source.base_checkpoint and recipe.needs_base
            else None,
            dtype=_name(source.compute_dtype),
        ),
        dtype=source.compute_dtype,
        tensors=tuple(stored.vlm[t] for t in tensors),
        changes={stored.vlm[t].name: partial(_merged, source, recipe, t) for t in tensors},
    )


def merge_of_delta(source: PairSource, folder: Path) -> Merge:
    """The merge whose changed tensors lie in `folder`; reads nothing of a backbone.

    Raises:
        UserError: The folder holds no delta, a damaged one, or one of another VLM or dtype.
    """
    recipe, lineage = read_recipe(folder), _read_lineage(folder)
    if _recorded(folder)["recipe"] != recipe.digest:
        raise UserError(
            f"{folder / RECIPE_FILE} is not the recipe that {folder / PROVENANCE} names; copy the "
            "delta again"
        )
    found = source.vlm_checkpoint.digest
    if found != lineage.vlm.digest:
        raise UserError(
            f"{folder} changes {lineage.vlm.name} ({lineage.vlm.digest}), but {source.vlm} is "
            f"another ({found}); give that VLM, pair.vlm="
        )
    if _name(source.compute_dtype) != lineage.dtype:
        raise UserError(f"{folder} was made in {lineage.dtype}; give pair.dtype={lineage.dtype}")
    tensors = read_shard(folder / DELTA).tensors
    require_as_written(folder / DELTA)
    return Merge(
        recipe=recipe,
        lineage=lineage,
        dtype=source.compute_dtype,
        tensors=tensors,
        changes={tensor.name: tensor.read for tensor in tensors},
    )


def measured_of_delta(folder: Path) -> tuple[Measured, ...]:
    """What was measured with the delta in `folder`, as those who wrote it say.

    Raises:
        UserError: It does not say so.
    """
    path = folder / PROVENANCE
    try:
        return tuple(Measured(**row) for row in _recorded(folder).get(MEASURED, ()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} does not say what was measured: {error!r}") from None


def is_delta(folder: Path) -> bool:
    """Whether `folder` holds changed tensors alone."""
    return (folder / DELTA).is_file()


def delta_sum(file: Path) -> str:
    """What `sha256sum` writes of a file."""
    with file.open("rb") as opened:
        return f"{hashlib.file_digest(opened, 'sha256').hexdigest()}  {file.name}\n"


def require_as_written(file: Path) -> None:
    """A delta's tensors must be those that were written.

    Raises:
        UserError: They are not, or there is no checksum.
    """
    sums = file.parent / DELTA_SUM
    try:
        is_same = sums.read_text() == delta_sum(file)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be checked against {sums}: {error}") from error
    if not is_same:
        raise UserError(f"{file} is not what {sums} says it was; copy the delta again")


def _merged(source: PairSource, recipe: Recipe, tensor: AlignedTensor) -> Tensor:
    stored, dtype = source.stored, source.compute_dtype
    rule = recipe.layers[tensor.layer].rule(tensor.part)
    if rule is None:
        raise RuntimeError(f"the recipe keeps {tensor.path}")

    def cast(where: Mapping[AlignedTensor, StoredTensor]) -> Tensor:
        return where[tensor].read().to(dtype)

    operands = Operands(
        name=tensor.path,
        vlm=cast(stored.vlm),
        backbone=cast(stored.backbone),
        base=cast(source.stored_base) if needs_base(rule) else None,
    )
    merged = merge_tensor(rule, operands)
    if not torch.isfinite(merged).all():
        raise UserError(
            f"layer {tensor.layer} {tensor.name} is not finite once merged: {source.vlm} or "
            f"{source.backbone_checkpoint} holds NaN or infinities, or {dtype} is too narrow"
        )
    return merged


def _parent(checkpoint: Checkpoint) -> Parent:
    return Parent(
        name=checkpoint.title,
        commit=checkpoint.commit,
        digest=checkpoint.digest,
        licence=licence(checkpoint.folder),
    )


def _named(parent: Parent) -> Named:
    return Named(parent.name, parent.digest)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _recorded(folder: Path) -> dict[str, Any]:
    """What `merit_opt.json` says.

    Raises:
        ValueError: It is of another schema, or none.
    """
    facts = json.loads((folder / PROVENANCE).read_text())
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}")
    return facts


def _read_lineage(folder: Path) -> Lineage:
    path = folder / PROVENANCE
    try:
        facts = _recorded(folder)["made_of"]
        base = facts["base"]
        return Lineage(
            vlm=Parent(**facts["vlm"]),
            backbone=Parent(**facts["backbone"]),
            base=None if base is None else Parent(**base),
            dtype=str(facts["dtype"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not say what the delta was made of: {error!r}") from None
