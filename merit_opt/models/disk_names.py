"""Which tensor on disk a model's parameter is: transformers renames them as it loads."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from merit_opt.errors import UserError
from merit_opt.models.alignment import AlignedTensor, Alignment, layer_tensor
from merit_opt.models.stored import Shard, StoredTensor, require_float

OnDisk = Mapping[str, Sequence[StoredTensor]]


def memory_names(model: Any, names: Iterable[str]) -> dict[str, str]:
    """Name on disk -> name in `model`, by transformers' own rules of loading.

    Several names on disk share one where the model fuses them, as it does experts.

    Args:
        model: A transformers model; one on the meta device will do.
        names: As its checkpoint spells them.
    """
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    known = model.state_dict()
    return {
        name: rename_source_key(name, renamings, converters, model.base_model_prefix, known)[0]
        for name in names
    }


def memory_tensors(model: Any, shards: Iterable[Shard]) -> OnDisk:
    """Name in `model` -> the tensors on disk that it is made of."""
    stored = {tensor.name: tensor for shard in shards for tensor in shard.tensors}
    found: dict[str, list[StoredTensor]] = {}
    for name, memory in memory_names(model, stored).items():
        found.setdefault(memory, []).append(stored[name])
    return found


def locate(model: Any, alignment: Alignment, on_disk: OnDisk) -> dict[AlignedTensor, StoredTensor]:
    """Where each aligned tensor of `model` lies on disk.

    Args:
        model: The VLM or a text model, on the meta device.
        alignment: Names what to look for.
        on_disk: What `memory_tensors` finds for the model.

    Raises:
        UserError: The checkpoint lacks an aligned tensor, or holds one in another shape, twice, or
            not as plain floating-point numbers.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    problems: list[str] = []
    found: dict[AlignedTensor, StoredTensor] = {}
    for tensor in alignment.tensors:
        parameter = layer_tensor(model, tensor)
        match on_disk.get(names[id(parameter)], []):
            case [one] if one.shape == tuple(parameter.shape):
                found[tensor] = one
            case _:
                problems.append(names[id(parameter)])
    require_whole(_folder(on_disk), problems)
    for one in found.values():
        require_float(one)
    return found


def require_complete(model: nn.Module, on_disk: OnDisk) -> None:
    """Every parameter of `model` is on disk, under one of its names where it is tied.

    Raises:
        UserError: Some are not.
    """
    aliases: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
    absent = [names[0] for names in aliases.values() if not any(name in on_disk for name in names)]
    require_whole(_folder(on_disk), absent)


def require_whole(folder: Path, problems: Sequence[str]) -> None:
    """No parameter may be absent from the weights, or of another shape than it should be.

    Raises:
        UserError: `problems` names some that are.
    """
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UserError(
            f"the weights in {folder} lack, or have in another shape than config.json says, "
            f"{', '.join(sorted(problems)[:3])}{more}; copy the checkpoint again"
        )


def _folder(on_disk: OnDisk) -> Path:
    return next(iter(on_disk.values()))[0].file.parent
