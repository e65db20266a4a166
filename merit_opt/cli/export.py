"""`merit-opt export`: a recipe as a checkpoint, as its changed tensors, or as a mergekit file."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.build import Factory, factories
from merit_opt.cli.given import given_pair
from merit_opt.cli.measured import measured_rows
from merit_opt.cli.parts import Outputs, disk_names, find_recipe
from merit_opt.cli.progress import SELDOM, display
from merit_opt.errors import UserError
from merit_opt.files import write_text
from merit_opt.models.card import Measured
from merit_opt.models.export import export_checkpoint, export_delta
from merit_opt.models.merge import (
    Merge,
    is_delta,
    measured_of_delta,
    merge_of_delta,
    merge_of_recipe,
)
from merit_opt.models.mergekit.header import header, warnings
from merit_opt.models.mergekit.names import roles_in
from merit_opt.models.mergekit.write import to_mergekit
from merit_opt.models.source import PairSource

FORMATS = ("hf", "delta", "mergekit")
MIB = 1024**2


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Write the recipe in the format asked for.

    Raises:
        UserError: There is no such format, or the recipe cannot be written so.
    """
    if cfg.format not in FORMATS:
        raise UserError(f"format is one of {', '.join(FORMATS)}; got {cfg.format!r}")
    console = Console()
    built = factories(cfg, {})
    source: PairSource = built["pair"].build()
    pair = given_pair(choices["pair"])
    if cfg.format == "mergekit":
        told = _write_mergekit(cfg, source, built["storage"], pair)
    else:
        told = _write(cfg, source, built["storage"], pair, console)
    console.print(told, highlight=False, soft_wrap=True)


def _write(
    cfg: DictConfig, source: PairSource, storage: Factory, pair: str, console: Console
) -> str:
    out = Path(cfg.out)
    merge, measured = _merge(cfg, source, storage)
    with display(console, every=SELDOM) as shown:

        def progress(done: int, total: int) -> None:
            shown.stage("writing (MiB)", done // MIB, total // MIB)

        if cfg.format == "delta":
            export_delta(merge, out, measured, progress)
            use = f"merit-opt export recipe={shlex.quote(str(out))} {pair} out=FOLDER"
        else:
            export_checkpoint(source, merge, out, measured, progress)
            use = f"AutoModelForImageTextToText.from_pretrained({str(out)!r})"
    if not merge.changes:
        return f"{out}: recipe {merge.recipe.digest} merges nothing, this is the VLM itself"
    layers = merge.recipe.layers
    return (
        f"{out}: recipe {merge.recipe.digest}, {len(merge.recipe.merged_layers)} of {len(layers)} "
        f"layers merged, {len(merge.changes)} tensors changed, read back as computed\nnext: {use}"
    )


def _merge(
    cfg: DictConfig, source: PairSource, storage: Factory
) -> tuple[Merge, Sequence[Measured]]:
    """The merge that `recipe=` names, and what was measured with it."""
    folder = Path(cfg.recipe)
    if is_delta(folder):
        return merge_of_delta(source, folder), measured_of_delta(folder)
    merge = merge_of_recipe(source, find_recipe(cfg.recipe, source, storage))
    outputs = Outputs(Path(cfg.output_dir))
    return merge, measured_rows(outputs, cfg.recipe, merge.recipe.digest, source.digest)


def _write_mergekit(cfg: DictConfig, source: PairSource, storage: Factory, pair: str) -> str:
    out = Path(cfg.out)
    recipe = find_recipe(cfg.recipe, source, storage)
    if out.exists():
        raise UserError(f"{out} exists; choose another out=")
    merged, others = disk_names(source)
    dtype = str(source.compute_dtype).removeprefix("torch.")
    text = to_mergekit(recipe, merged, pair=roles_in(source), dtype=dtype, others=others)
    write_text(out, header(recipe, source, pair=pair, file=cfg.out) + text)
    warned = [f"warning: {one}" for one in warnings(source.family.model_type)]
    told = f"{out}: recipe {recipe.digest}"
    return "\n".join([told, *warned, "next: the commands in its first lines"])
