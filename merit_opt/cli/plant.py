"""`merit-opt plant`: a tiny VLM whose damage is known."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.progress import display
from merit_opt.models.tiny.plant import Plan, plant


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Train the damage in, measure it, and say how to search it."""
    console = Console()
    with display(console) as shown:
        planted = plant(
            Plan(layers=tuple(cfg.layers), decoys=tuple(cfg.decoys), seed=cfg.seed),
            out=Path(cfg.out),
            progress=shown.stage,
        )
    scores = {
        "as it is": planted.base,
        "damaged layers restored": planted.restored,
        "half restored in every layer": planted.uniform_half,
    }
    layers, decoys = (", ".join(map(str, chosen)) for chosen in (planted.layers, planted.decoys))
    beside = f", decoys in {decoys}" if decoys else ""
    console.print(
        f"{planted.folder}: damage planted in layers {layers}{beside}, {planted.seconds:.0f} s",
        *(f"  {name:<29}TR {score.TR:.3f}  TP {score.TP:.3f}" for name, score in scores.items()),
        f"next: merit-opt search pair.vlm={planted.folder} study.name=NAME",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )
