"""`merit-opt export`: a recipe as a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.build import factories
from merit_opt.cli.parts import find_recipe, load_pair
from merit_opt.models.device import resolve_device
from merit_opt.models.export import export


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Write the merged VLM, load it back, and compare."""
    console = Console()
    built = factories(cfg, {})
    source = built["pair"].build()
    recipe = find_recipe(cfg.recipe, source, built["storage"])
    out = Path(cfg.out)
    with console.status("loading the pair, writing and checking the checkpoint"):
        export(load_pair(source, resolve_device(cfg.device), "host"), recipe, out)
    console.print(
        f"{out}: recipe {recipe.digest}, {len(recipe.merged_layers)} of {len(recipe.layers)} "
        f"layers merged, loaded back bit-equal\n"
        f"next: AutoModelForImageTextToText.from_pretrained({str(out)!r})",
        highlight=False,
        soft_wrap=True,
    )
