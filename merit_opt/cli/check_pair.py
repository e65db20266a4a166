"""What `merit-opt check` says of a pair; weights are read from disk tensor by tensor, not loaded."""

from collections.abc import Iterator, Mapping
from math import prod

from merit_opt.cli.progress import Display
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.models.alignment import AlignedTensor, layer_tensor
from merit_opt.models.distance import Stored, distances, looks_unrelated
from merit_opt.models.finite import require_finite
from merit_opt.models.footprint import announced_dtype, likely_dtype, sizes
from merit_opt.models.source import PairSource
from merit_opt.models.spread import planned
from merit_opt.units import size_text

WARNING = "warning: "


def pair_lines(source: PairSource) -> Iterator[str]:
    """What the configurations tell: which tensors correspond, and how large they are.

    Raises:
        UserError: The pair is none, or a checkpoint cannot be had.
    """
    alignment = source.alignment
    base = "" if source.base_checkpoint is None else f", base {source.base_checkpoint}"
    yield f"VLM {source.vlm_checkpoint}, backbone {source.backbone_checkpoint}{base}"
    yield from source.notes
    yield f"{alignment.n_layers} decoder layers"
    yield f"computed in {str(likely_dtype(source)).removeprefix('torch.')}"
    if source.base is not None:
        source.require_base_fits()
    yield from _part_lines(source)
    yield from _kept_lines(source)
    yield _size_line(source)


def distance_lines(source: PairSource, shown: Display) -> Iterator[str]:
    """How far the text models are from the VLM, a line a layer, where all weights are here.

    Raises:
        UserError: Weights are damaged or not finite.
    """
    if not _is_here(source):
        yield "weights are not here yet: distances are told once a run fetched them"
        return
    stored, base = source.stored, source.base_checkpoint
    yield from _distances("backbone", stored.vlm, stored.backbone, shown)
    if base is not None and base.has_weights:
        yield from _distances("base", stored.vlm, source.stored_base, shown)


def finite_lines(source: PairSource, shown: Display) -> Iterator[str]:
    """Nothing, or a problem with those of the VLM's weights here that were not compared.

    Raises:
        UserError: Some of it is not finite.
    """
    if source.vlm_checkpoint.has_weights:
        compared = {t.name for t in source.stored.vlm.values()} if _is_here(source) else set()
        rest = [t for shard in source.shards for t in shard.tensors if t.name not in compared]
        require_finite(rest, lambda *steps: shown.stage("looking for NaN (tensors)", *steps))
    yield from ()


def spread_lines(source: PairSource, device: str, settings: EngineSettings) -> Iterator[str]:
    """What the pair takes of each GPU, a line a GPU, and what is left of all; nothing of a CPU.

    Args:
        source: The pair.
        device: As `resolve_device` returns it.
        settings: Where the backbone's attention waits, and what hidden states may take.

    Raises:
        UserError: They do not hold it.
    """
    dtype, alignment = likely_dtype(source), source.alignment
    plan = planned(source.vlm_config, dtype, alignment, device, settings.backbone)
    for share in plan.shares:
        yield f"cuda:{share.gpu} takes {share}; {size_text(share.free)} are free"
    plan.require_room()
    if plan.shares:
        left = sum(share.free - share.wanted for share in plan.shares)
        yield (
            f"{size_text(left)} are left for forwards, and for hidden states at most "
            f"engine.levels_gib={settings.levels_gib:g}"
        )


def _part_lines(source: PairSource) -> Iterator[str]:
    sizes, total = _sizes(source)
    for part in source.alignment.parts:
        size = sum(size for tensor, size in sizes.items() if tensor.part == part)
        yield f"{part}: {source.alignment.count(part)} tensors, {size_text(size)}"
    rest = total - sum(sizes.values())
    yield f"everything else, vision side included, stays the VLM's: {size_text(rest)}"


def _size_line(source: PairSource) -> str:
    """What the operator of a machine asks: docs/cluster.md has it of every published pair."""
    one = sizes(source)
    return (
        f"a visual token takes {size_text(one.features)} of features and {size_text(one.level)} a "
        f"level of hidden states; self-attention takes {size_text(one.attention)} of the decoder "
        f"layers' {size_text(one.decoder)}"
    )


def _sizes(source: PairSource) -> tuple[Mapping[AlignedTensor, int], int]:
    """Bytes of every tensor that can be merged, and of the whole VLM, as they are stored.

    Where the weights are not here yet: as the configuration describes them.
    """
    if _is_here(source):
        stored = {tensor: one.size for tensor, one in source.stored.vlm.items()}
        return stored, sum(t.size for shard in source.shards for t in shard.tensors)
    model, itemsize = source.vlm_skeleton, announced_dtype(source).itemsize
    sizes = {t: prod(layer_tensor(model, t).shape) * itemsize for t in source.alignment.tensors}
    return sizes, sum(p.numel() for p in model.parameters()) * itemsize


def _is_here(source: PairSource) -> bool:
    """Whether `source.stored` would download nothing."""
    return source.vlm_checkpoint.has_weights and source.backbone_checkpoint.has_weights


def _kept_lines(source: PairSource) -> Iterator[str]:
    """What of the language model a merge never touches, by reason."""
    reasons: dict[str, list[str]] = {}
    kept = source.alignment.kept
    on_disk = source.stored.kept if _is_here(source) else None
    for name, reason in kept.items():
        if on_disk is None:
            told = name
        else:
            told = on_disk[name].name if name in on_disk else f"{name} (tied)"
        reasons.setdefault(reason, []).append(told)
    for reason, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"kept: {', '.join(names[:3])}{more} ({reason})"


def _distances(role: str, vlm: Stored, other: Stored, shown: Display) -> Iterator[str]:
    def progress(done: int, total: int) -> None:
        shown.stage(f"comparing with the {role} (tensors)", done, total)

    found = distances(vlm, other, progress)
    rows: dict[int, list[str]] = {}
    for one in found:
        rows.setdefault(one.layer, []).append(f"{one.part} {one.relative:.4f}")
    yield (
        f"distance of the {role} from the VLM, relative to the VLM's length (no sign of which layers "
        "are worth merging: harmless changes can be large):"
    )
    for layer, parts in rows.items():
        yield f"  layer {layer:>2}: {', '.join(parts)}"
    if looks_unrelated(found):
        yield (
            f"{WARNING}the {role}'s attention is farther from the VLM's than that is long; the two "
            "look unrelated, and a merge will not make sense"
        )
    if all(one.relative == 0 for one in found):
        yield f"{WARNING}the {role} equals the VLM in every layer: there is nothing to merge"
