"""A merge as a checkpoint that `from_pretrained` loads, or as its changed tensors alone."""

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merit_opt.errors import UserError
from merit_opt.models.card import CARD, Measured, model_card
from merit_opt.models.merge import DELTA, PROVENANCE, Merge
from merit_opt.models.shards import Progress, differing, write_shards
from merit_opt.models.source import PairSource
from merit_opt.models.stored import Shard
from merit_opt.recipe.recipe import to_json
from merit_opt.recipe.store import RECIPE_FILE

_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")
_OURS = {PROVENANCE, RECIPE_FILE}
_TEMPLATES = "additional_chat_templates"


def export_checkpoint(
    source: PairSource, merge: Merge, out: Path, measured: Sequence[Measured], progress: Progress
) -> None:
    """Write the merged VLM in its source's own layout to `out`, or nothing at all.

    No model is loaded: tensors are merged on their way from file to file, and files in which
    nothing changes are linked. What was computed is read back from the disk and compared.

    Args:
        source: The pair.
        merge: What changes.
        out: A folder that is new or empty; one that holds this very export is checked instead.
        measured: For the model card.
        progress: Called with bytes done and bytes in all.

    Raises:
        UserError: `out` holds something else, cannot be written, or holds this export damaged;
            weights are torn or not finite.
    """
    with _new_folder(out, merge, "hf", source.stored.shards) as folder:
        if folder is not None:
            _describe(folder, merge, "hf", measured)
            _copy_beside(source.vlm_checkpoint.folder, folder, merge)
            write_shards(source.stored.shards, merge.changes, merge.dtype, folder, progress)


def export_delta(
    merge: Merge, out: Path, measured: Sequence[Measured], progress: Progress
) -> None:
    """Write only the changed tensors to `out`, under the VLM's names, or nothing at all.

    Raises:
        UserError: As of `export_checkpoint`.
    """
    shards = [Shard(Path(DELTA), {}, merge.tensors)]
    with _new_folder(out, merge, "delta", shards) as folder:
        if folder is not None:
            _describe(folder, merge, "delta", measured)
            write_shards(shards, merge.changes, merge.dtype, folder, progress)


@contextmanager
def _new_folder(
    out: Path, merge: Merge, form: str, shards: Sequence[Shard]
) -> Generator[Path | None]:
    """A temporary folder beside `out`, renamed to it unless the block raises.

    None where `out` holds this very export, whole.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another out=")
    if out.exists() and any(out.iterdir()):
        if _provenance(out) != merge.facts(form):
            raise UserError(f"{out} is not empty and holds something else; choose another out=")
        _require_whole(out, merge, shards)
        yield None
        return
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        yield temporary
        temporary.chmod(0o755)
        os.replace(temporary, out)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {out}: {reason}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _require_whole(out: Path, merge: Merge, shards: Sequence[Shard]) -> None:
    try:
        damaged = differing(shards, merge.changes, merge.dtype, out)
    except UserError as error:
        damaged = [str(error)]
    if damaged:
        raise UserError(
            f"{out} holds this export, but damaged; remove it or choose another out= "
            f"({', '.join(damaged[:3])})"
        )


def _describe(folder: Path, merge: Merge, form: str, measured: Sequence[Measured]) -> None:
    (folder / RECIPE_FILE).write_text(to_json(merge.recipe) + "\n")
    (folder / PROVENANCE).write_text(json.dumps(merge.facts(form), indent=1) + "\n")
    (folder / CARD).write_text(model_card(merge.recipe, merge.lineage, measured))


def _copy_beside(source: Path, folder: Path, merge: Merge) -> None:
    """All but the weights and what this export says itself."""
    names = {path.name for pattern in _BESIDE for path in source.glob(pattern)} - _OURS
    for name in sorted(names):
        shutil.copyfile(source / name, folder / name)
    if (source / _TEMPLATES).is_dir():
        shutil.copytree(source / _TEMPLATES, folder / _TEMPLATES)
    config = folder / "config.json"
    config.write_text(
        json.dumps(_in_dtype(json.loads(config.read_text()), merge), indent=2) + "\n"
    )


def _in_dtype(node: Any, merge: Merge) -> Any:
    """A configuration that names the dtype of what is written, in its parts too."""
    if isinstance(node, list):
        return [_in_dtype(item, merge) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: merge.lineage.dtype if key in ("dtype", "torch_dtype") else _in_dtype(value, merge)
        for key, value in node.items()
    }


def _provenance(folder: Path) -> object:
    try:
        return json.loads((folder / PROVENANCE).read_text())
    except (OSError, ValueError):
        return None
