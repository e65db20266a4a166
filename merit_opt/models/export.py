"""A recipe as a checkpoint that `from_pretrained` loads."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from merit_opt.errors import UserError
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import Recipe, to_json

PROVENANCE = "merit_opt.json"


def export(pair: ModelPair, recipe: Recipe, out: Path) -> None:
    """Write the merged VLM with its processor to `out`, verified, or nothing at all.

    The folder is written under a temporary name, loaded again and compared bit for bit with the
    live merge (parameters and buffers), then renamed.

    Raises:
        UserError: `out` holds something else, or cannot be written.
        RuntimeError: The written checkpoint does not load back to the same weights.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another out=")
    if out.exists() and any(out.iterdir()):
        if _provenance(out) == _expected(pair, recipe):
            _require_whole(pair, recipe, out)
            return
        raise UserError(f"{out} is not empty and holds another checkpoint; choose another out=")
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        _write(pair, recipe, temporary)
        temporary.chmod(0o755)
        for path in temporary.iterdir():
            path.chmod(0o644)
        os.replace(temporary, out)
    except (OSError, SafetensorError) as error:  # the weights' writer has an error of its own
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write the checkpoint to {out}: {reason}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _require_whole(pair: ModelPair, recipe: Recipe, out: Path) -> None:
    try:
        with pair.merged(recipe) as model:
            _verify(model, out)
    except (RuntimeError, OSError, SafetensorError) as error:
        raise UserError(
            f"{out} holds this export, but damaged; remove it or choose another out= ({error})"
        ) from error


def _write(pair: ModelPair, recipe: Recipe, folder: Path) -> None:
    with pair.merged(recipe) as model:
        model.save_pretrained(folder)
        pair.processor.save_pretrained(folder)
        (folder / "recipe.json").write_text(to_json(recipe) + "\n")
        (folder / PROVENANCE).write_text(json.dumps(_expected(pair, recipe)) + "\n")
        _verify(model, folder)


def _verify(model: Any, folder: Path) -> None:
    loaded, info = type(model).from_pretrained(
        folder, dtype=model.dtype, local_files_only=True, output_loading_info=True
    )
    problems = [f"{len(info[kind])} {kind}" for kind in info if info[kind]]
    ours, theirs = _tensors(model), _tensors(loaded.to(model.device))
    problems += [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name])
    ]
    if problems:
        raise RuntimeError(f"the exported checkpoint differs from the live merge: {problems[:5]}")


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _expected(pair: ModelPair, recipe: Recipe) -> dict[str, str]:
    return {"recipe": recipe.digest, "pair": pair.digest}


def _provenance(folder: Path) -> object:
    try:
        return json.loads((folder / PROVENANCE).read_text())
    except (OSError, ValueError):
        return None
