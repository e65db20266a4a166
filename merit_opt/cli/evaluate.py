"""`merit-opt evaluate`: one recipe on one suite, paired against the unmerged VLM."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from merit_opt.cli.build import factories
from merit_opt.cli.parts import (
    SPLIT_KEYS,
    SUITE_INJECTED,
    Outputs,
    build_suite,
    find_recipe,
    load_pair,
    require_seed,
)
from merit_opt.cli.progress import display
from merit_opt.cli.tables import difference_text
from merit_opt.data.suite import Suite
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.objective import require_measurable
from merit_opt.files import write_text
from merit_opt.models.device import resolve_device
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.confirm import Confirmation, confirm

SCHEMA = 1


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Measure, compare, write result.json."""
    console = Console()
    built = factories(cfg, {"suite": SPLIT_KEYS}, suite=SUITE_INJECTED)
    outputs = Outputs(Path(cfg.output_dir))
    outputs.require_writable()
    require_seed("seed", cfg.seed)
    source = built["pair"].build()
    recipe = find_recipe(cfg.recipe, source, built["storage"])
    objective, settings = built["objective"].build(), built["engine"].build()
    with display(console) as shown:
        suite = build_suite(built["suite"], outputs, shown.stage)
        require_measurable(objective, suite)
        engine = Engine(
            load_pair(source, resolve_device(cfg.device), settings.backbone),
            settings,
            cache=outputs.cache,
            starts={},
            reporter=shown,
        )

        def evaluate(measured: Recipe) -> Evaluation:
            return engine.evaluate(measured, suite)

        with engine:
            found = confirm(
                recipe, (), suite=suite, objective=objective, evaluate=evaluate, seed=cfg.seed
            )
    folder = (
        outputs.root
        / "evaluations"
        / f"{choices['pair']}-{source.digest}-{choices['suite']}-{suite.digest}-{recipe.digest}"
    )
    write_text(
        folder / "result.json",
        json.dumps(_result(found, suite, source.digest, cfg.seed), indent=1) + "\n",
    )
    _show(console, cfg.recipe, suite, found)
    console.print(f"files: {folder}/result.json", highlight=False, soft_wrap=True)


def _result(found: Confirmation, suite: Suite, pair: str, seed: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "pair": pair,
        "seed": seed,
        "suite": {"name": suite.name, "digest": suite.digest, "n": found.n},
        "recipe": found.best.recipe.digest,
        "base": {"TR": found.base.TR, "TP": found.base.TP},
        "scores": {"TR": found.best.TR, "TP": found.best.TP, "objective": found.best.objective},
        "unscored": found.evaluation.unscored,
        "difference": {role: asdict(d) for role, d in found.difference.items()},
    }


def _show(console: Console, name: str, suite: Suite, found: Confirmation) -> None:
    table = Table(title=f"{suite.name} ({found.n['TR']} TR, {found.n['TP']} TP questions)")
    for column in ("recipe", "TR", "TP", "objective"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for label, row in ((name, found.best), ("base (the VLM as it is)", found.base)):
        table.add_row(label, f"{row.TR:.3f}", f"{row.TP:.3f}", f"{row.objective:+.3f}")
    console.print(table)
    for role, difference in found.difference.items():
        console.print(
            f"{name} - base, {role}: {difference_text(asdict(difference))}", soft_wrap=True
        )
    if found.evaluation.unscored:
        console.print(f"{len(found.evaluation.unscored)} samples could not be scored")
