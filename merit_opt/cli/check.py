"""`merit-opt check`: every problem at once, before any weights load."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.build import factories
from merit_opt.cli.parts import SPLIT_KEYS, SUITE_INJECTED, Outputs, build_suite
from merit_opt.cli.progress import Display, display
from merit_opt.data.decode_pool import DecodePool
from merit_opt.data.frames import FramePlan
from merit_opt.data.image import Image
from merit_opt.data.media_status import MediaError
from merit_opt.data.medium import Medium
from merit_opt.data.quarantine import Quarantine
from merit_opt.data.suite import Suite
from merit_opt.data.unpacked import shown_path
from merit_opt.errors import UserError
from merit_opt.evaluation.engine import GIB, EngineSettings
from merit_opt.models.device import resolve_device
from merit_opt.models.distance import Stored, distances, looks_unrelated
from merit_opt.models.features import FeatureStore
from merit_opt.models.footprint import (
    ImageShape,
    MediumShape,
    VideoShape,
    footprint,
    likely_dtype,
)
from merit_opt.models.source import PairSource

SPACE_WANTED_GIB = 1.0


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Say what is fine and what is not.

    Raises:
        UserError: Something is not; every problem is in the message.
    """
    console = Console()
    built = factories(cfg, {"suite": SPLIT_KEYS}, suite=SUITE_INJECTED)
    outputs = Outputs(Path(cfg.output_dir))
    problems: list[str] = []

    def look(what: str, inspect: Callable[[], Iterator[str]]) -> None:
        try:
            for line in inspect():
                console.print(f"{what}: {line}", highlight=False, soft_wrap=True)
        except UserError as error:
            problems.append(f"{what}: {error}")

    with display(console) as shown:
        pair, engine = cache(built["pair"].build), cache(built["engine"].build)
        shapes: list[MediumShape] = []
        look("output_dir", lambda: _output_lines(outputs))
        look("device", lambda: iter([resolve_device(cfg.device)]))
        look("pair", lambda: _pair_lines(pair(), shown))
        look(
            "suite",
            lambda: _suite_lines(
                build_suite(built["suite"], outputs, shown.stage), engine, outputs, shapes, shown
            ),
        )
        look("storage", lambda: _storage_lines(built["storage"].build()))
        look("engine", lambda: _engine_lines(engine(), pair, shapes, outputs))
    if problems:
        raise UserError("\n  ".join([f"{len(problems)} problem(s):", *problems]))
    console.print("all is well; next: merit-opt search")


def _output_lines(outputs: Outputs) -> Iterator[str]:
    outputs.require_writable()
    free = shutil.disk_usage(outputs.root).free / GIB
    if free < SPACE_WANTED_GIB:
        raise UserError(f"{outputs.root} has {free:.1f} GiB free, {SPACE_WANTED_GIB} wanted")
    yield f"{outputs.root}, {free:.0f} GiB free"


def _pair_lines(source: PairSource, shown: Display) -> Iterator[str]:
    alignment = source.alignment
    base = "" if source.base_checkpoint is None else f", base {source.base_checkpoint}"
    yield f"VLM {source.vlm_checkpoint}, backbone {source.backbone_checkpoint}{base}"
    yield from source.notes
    yield f"{alignment.n_layers} decoder layers"
    yield f"computed in {str(likely_dtype(source)).removeprefix('torch.')}"
    if source.base is not None:
        source.require_base_fits()
    if not (source.vlm_checkpoint.has_weights and source.backbone_checkpoint.has_weights):
        yield "weights are not here yet: tensors and distances are told once a run fetched them"
        return
    yield from _part_lines(source)
    stored = source.stored
    reasons: dict[str, list[str]] = {}
    for name, reason in alignment.kept.items():
        on_disk = stored.kept[name].name if name in stored.kept else f"{name} (tied)"
        reasons.setdefault(reason, []).append(on_disk)
    for reason, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"kept: {', '.join(names[:3])}{more} ({reason})"
    yield from _distance_lines("backbone", stored.vlm, stored.backbone, shown)
    if source.base_checkpoint is not None and source.base_checkpoint.has_weights:
        yield from _distance_lines("base", stored.vlm, source.stored_base, shown)


def _part_lines(source: PairSource) -> Iterator[str]:
    stored, alignment = source.stored, source.alignment
    for part in alignment.parts:
        size = sum(one.size for tensor, one in stored.vlm.items() if tensor.part == part)
        yield f"{part}: {alignment.count(part)} tensors, {_size(size)}"
    held = sum(tensor.size for shard in source.shards for tensor in shard.tensors)
    merged = sum(one.size for one in stored.vlm.values())
    yield f"everything else, vision side included, stays the VLM's: {_size(held - merged)}"


def _distance_lines(role: str, vlm: Stored, other: Stored, shown: Display) -> Iterator[str]:
    """How far the text model is from the VLM, a line a layer."""

    def progress(done: int, total: int) -> None:
        shown.stage(f"comparing with the {role} (tensors)", done, total)

    found = distances(vlm, other, progress)
    rows: dict[int, list[str]] = {}
    for one in found:
        rows.setdefault(one.layer, []).append(f"{one.part} {one.relative:.4f}")
    yield f"distance of the {role} from the VLM, relative to the VLM's length:"
    for layer, parts in rows.items():
        yield f"  layer {layer:>2}: {', '.join(parts)}"
    if looks_unrelated(found):
        yield (
            f"warning: the {role}'s attention is farther from the VLM's than that is long; the two "
            "look unrelated, and a merge will not make sense"
        )
    if all(one.relative == 0 for one in found):
        yield f"warning: the {role} equals the VLM in every layer: there is nothing to merge"


def _suite_lines(
    suite: Suite,
    engine: Callable[[], EngineSettings],
    outputs: Outputs,
    shapes: list[MediumShape],
    shown: Display,
) -> Iterator[str]:
    """What the suite holds; the shapes of its media are added to `shapes`."""
    roles = Counter(suite.role(s) for s in suite.samples)
    letters = Counter(s.labels[s.answer] for s in suite.samples if isinstance(s.answer, int))
    media = tuple(dict.fromkeys(s.media for s in suite.samples))
    yield f"{suite.name}, {len(suite.samples)} samples on {len(media)} media"
    yield "roles: " + ", ".join(f"{role} {n}" for role, n in sorted(roles.items()))
    yield "right letters: " + ", ".join(f"{x} {n}" for x, n in sorted(letters.items()))
    try:
        settings = engine().media
    except UserError:  # the engine's own problem, told there
        return
    broken: list[str] = []
    plan, quarantine = suite.asking.frames, Quarantine(outputs.quarantine)
    with DecodePool(media, replace(plan, mode="uniform", count=1), settings, quarantine) as pool:
        for done, one in enumerate(media):
            shown.stage(f"looking at {suite.name} media", done, len(media))
            try:
                medium = pool.take(one)
            except MediaError as error:
                broken.append(str(error))
                continue
            shapes.append(_shape(medium, plan, len(one)))
            if medium.status.kind != "ok":
                yield f"{shown_path(one[0])}: {medium.status}"
    if broken:
        raise UserError(f"{len(broken)} of {len(media)} media: " + "; ".join(broken))


def _shape(medium: Medium, plan: FramePlan, media: int) -> MediumShape:
    if isinstance(medium, Image):
        return ImageShape(*medium.pixels.shape[:2])
    height, width = medium.frames.shape[1:3]
    sampling = medium.sampling
    count = sampling.total if plan.mode == "all" else plan.count * media
    return VideoShape(count, height, width, sampling.fps)


def _engine_lines(
    settings: EngineSettings,
    pair: Callable[[], PairSource],
    shapes: Sequence[MediumShape],
    outputs: Outputs,
) -> Iterator[str]:
    yield repr(settings)
    yield from _quarantine_lines(Quarantine(outputs.quarantine))
    try:
        source = pair()
        _ = source.alignment, likely_dtype(source)
    except UserError:  # the pair's own problem, told already
        return
    found = footprint(source, shapes)
    levels = settings.levels
    useful = source.alignment.n_layers - 1
    fitting = min(useful, (levels.device + levels.host) // max(1, found.level))
    yield (
        f"{found.visual_tokens:,} visual tokens; their features take {_size(found.features)} in "
        f"{outputs.cache} (engine.features_gib={settings.features_gib:g})"
    )
    yield (
        f"hidden states take {_size(found.level)} a level, questions not counted; "
        f"{fitting} of {useful} levels fit (engine.levels_gib={settings.levels_gib:g}, "
        f"engine.host_levels_gib={settings.host_levels_gib:g})"
    )
    yield f"self-attention takes {_size(found.attention)}, kept of the VLM and of the backbone"
    if found.features > settings.feature_bytes:
        raise UserError(
            f"the visual features of the suite take {_size(found.features)}, more than "
            f"engine.features_gib={settings.features_gib:g}; raise it, or they are computed again "
            "in every process"
        )
    store = FeatureStore(outputs.features, settings.feature_bytes)
    if found.features - store.size > (free := shutil.disk_usage(outputs.root).free):
        raise UserError(
            f"the visual features of the suite take {_size(found.features)}, and {outputs.root} "
            f"has {_size(free)} free; choose another output_dir="
        )


def _quarantine_lines(quarantine: Quarantine) -> Iterator[str]:
    entries = quarantine.entries.values()
    for one in entries:
        yield f"not read again: {', '.join(one.media)}: {one.reason} ({one.time})"
    if entries:
        yield f"to read them again, delete {quarantine.path}"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _storage_lines(storage: Any) -> Iterator[str]:
    studies = storage.get_all_studies()
    yield f"{len(studies)} studies" + "".join(f"; {s.study_name}" for s in studies)
