"""A merge as a checkpoint that `from_pretrained` loads, or as its changed tensors alone."""

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from merit_opt.errors import UserError
from merit_opt.files import UMASK, write_text
from merit_opt.models.card import CARD, Measured, delta_card, model_card
from merit_opt.models.merge import (
    DELTA,
    DELTA_SUM,
    MEASURED,
    PROVENANCE,
    Merge,
    delta_sum,
    require_as_written,
)
from merit_opt.models.shards import Progress, differing, size_written, write_shards
from merit_opt.models.source import PairSource
from merit_opt.models.stored import INDEX, SINGLE, Shard
from merit_opt.recipe.store import RECIPE_FILE, read_recipe

_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")
_OURS = {PROVENANCE, RECIPE_FILE}
_INDEX_ENDS = ".index.json"
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
    card = model_card(merge.recipe, merge.lineage, measured, source.family.video_entry)
    said = _said(merge, "hf", measured, card)
    content = _Content("hf", source.shards, _beside(source, merge))
    with _new_folder(out, merge, content) as folder:
        if folder is None:
            _renew(out, said)
        else:
            _write({**said, **content.beside}, folder)
            write_shards(source.shards, merge.changes, merge.dtype, folder, progress)


def export_delta(
    merge: Merge, out: Path, measured: Sequence[Measured], progress: Progress
) -> None:
    """Write only the changed tensors to `out`, under the VLM's names, or nothing at all.

    Raises:
        UserError: As of `export_checkpoint`.
    """
    said = _said(merge, "delta", measured, delta_card(merge.recipe, merge.lineage, measured))
    shards = [Shard(Path(DELTA), {}, merge.tensors)]
    with _new_folder(out, merge, _Content("delta", shards, {})) as folder:
        if folder is None:
            require_as_written(out / DELTA)
            _renew(out, said)
        else:
            _write(said, folder)
            write_shards(shards, merge.changes, merge.dtype, folder, progress)
            (folder / DELTA_SUM).write_text(delta_sum(folder / DELTA))


@dataclass(frozen=True, eq=False, slots=True)
class _Content:
    """What a folder holds beside what says where it came from.

    Attributes:
        form: `hf` or `delta`.
        shards: The files of weights that it is made of.
        beside: Path in the folder -> content.
    """

    form: str
    shards: Sequence[Shard]
    beside: Mapping[str, bytes]


@contextmanager
def _new_folder(out: Path, merge: Merge, content: _Content) -> Generator[Path | None]:
    """A temporary folder beside `out`, renamed to it unless the block raises.

    None where `out` holds this very export, whole.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another out=")
    if out.exists() and any(out.iterdir()):
        if _provenance(out) != merge.facts(content.form):
            raise UserError(f"{out} is not empty and holds something else; choose another out=")
        _require_whole(out, merge, content)
        yield None
        return
    temporary: Path | None = None
    target = out.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        yield temporary
        temporary.chmod(0o777 & ~UMASK)
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {out}: {reason}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _require_whole(out: Path, merge: Merge, content: _Content) -> None:
    damaged = [name for name, data in content.beside.items() if _read(out / name) != data]
    try:
        if read_recipe(out) != merge.recipe:
            damaged.append(RECIPE_FILE)
    except UserError:
        damaged.append(RECIPE_FILE)
    try:
        damaged += differing(content.shards, merge.changes, merge.dtype, out)
    except UserError as error:
        damaged.append(str(error))
    if damaged:
        raise UserError(
            f"{out} holds this export, but damaged; remove it or choose another out= "
            f"({', '.join(damaged[:3])})"
        )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _said(merge: Merge, form: str, measured: Sequence[Measured], card: str) -> dict[str, bytes]:
    """What an export says of itself: name of a file -> content."""
    facts = merge.facts(form) | {MEASURED: [asdict(row) for row in measured]}
    return {
        RECIPE_FILE: merge.recipe_text.encode(),
        PROVENANCE: (json.dumps(facts, indent=1) + "\n").encode(),
        CARD: card.encode(),
    }


def _renew(out: Path, said: Mapping[str, bytes]) -> None:
    """What has been measured since the export."""
    for name, content in said.items():
        if _read(out / name) != content:
            write_text(out / name, content.decode())


def _beside(source: PairSource, merge: Merge) -> dict[str, bytes]:
    """All but the weights and what this export says itself: path in the folder -> content."""
    folder = source.vlm_checkpoint.folder
    found = {path for pattern in _BESIDE for path in folder.glob(pattern)}
    index = None if folder / SINGLE in {shard.file for shard in source.shards} else INDEX
    try:
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(found | {*(folder / _TEMPLATES).glob("*")})
            if path.is_file() and path.name not in _OURS
        }
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
    # Other indices list weights that are not exported, such as pickled ones.
    files = {n: data for n, data in files.items() if not n.endswith(_INDEX_ENDS) or n == index}
    files["config.json"] = _json(_in_dtype(json.loads(files["config.json"]), merge))
    if index is not None:
        files[index] = _sized(files[index], size_written(source.shards, merge.dtype))
    return files


def _sized(index: bytes, size: int) -> bytes:
    """An index of weights that says how many bytes all tensors have."""
    value = json.loads(index)
    if not isinstance(value.get("metadata"), dict) or value["metadata"].get("total_size") == size:
        return index
    value["metadata"]["total_size"] = size
    return _json(value)


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


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
    """What a folder was made of, whatever was measured with it since."""
    try:
        facts = json.loads((folder / PROVENANCE).read_text())
    except (OSError, ValueError):
        return None
    return {k: v for k, v in facts.items() if k != MEASURED} if isinstance(facts, dict) else None
