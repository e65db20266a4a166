"""`merit-opt plant`: a tiny VLM whose damage is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from merit_opt.cli.progress import display
from merit_opt.errors import UserError
from merit_opt.models.tiny.damage import Damage, listed
from merit_opt.models.tiny.plant import Plan, plant


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Train the damage in, measure it, and say how to search it."""
    console = Console()
    with display(console) as shown:
        planted = plant(
            Plan(
                Damage(_groups(cfg.layers), tuple(cfg.decoys), tuple(cfg.natural_decoys)),
                seed=cfg.seed,
            ),
            out=Path(cfg.out),
            progress=shown.stage,
        )
    scores = {
        "as it is": planted.base,
        "damaged layers restored": planted.restored,
        "half restored in every layer": planted.uniform_half,
    }
    decoys = ", ".join(map(str, planted.damage.moved))
    beside = f", decoys in {decoys}" if decoys else ""
    console.print(
        f"{planted.folder}: damage planted in layers {listed(planted.damage.groups)}{beside}, "
        f"{planted.seconds:.0f} s",
        *(f"  {name:<29}TR {score.TR:.3f}  TP {score.TP:.3f}" for name, score in scores.items()),
        f"next: merit-opt search pair.vlm={planted.folder} study.name=NAME",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )


def _groups(layers: Any) -> tuple[tuple[int, ...], ...]:
    """Layers damaged together, or lists of them, each list enough by itself."""
    given: Any = OmegaConf.to_container(layers)
    nested = given if any(isinstance(each, list) for each in given) else [given]
    if not all(isinstance(group, list) and all(map(_is_layer, group)) for group in nested):
        raise UserError(
            f"layers must be numbers, as in [3,5], or lists of them, as in [[3],[4]], got {given}"
        )
    return tuple(map(tuple, nested))


def _is_layer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
