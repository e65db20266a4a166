"""`merit-opt evaluate`: one recipe on one suite, paired against the unmerged VLM."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from merit_opt.cli.build import factories
from merit_opt.cli.parts import (
    SPLIT_KEYS,
    SUITE_INJECTED,
    Outputs,
    built_suite,
    find_recipe,
    load_pair,
    require_seed,
    searched_media,
)
from merit_opt.cli.progress import SELDOM, Display, display
from merit_opt.cli.tables import difference_text
from merit_opt.data.leakage import SharedMedium, leakage
from merit_opt.data.media.status import MediaStatus
from merit_opt.data.suite import Suite
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Evaluation
from merit_opt.evaluation.objective import require_measurable
from merit_opt.evaluation.outcome import ALL, Outcome, most_biased, outcome, rows_told, to_dict
from merit_opt.evaluation.samples_file import sample_rows, write_samples
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.files import write_text
from merit_opt.models.device import device_type, resolve_device
from merit_opt.models.source import PairSource
from merit_opt.recipe.constructors import base as base_recipe

SCHEMA = 1
RESULT = "result.json"
FILES = (RESULT, "samples.parquet", "base_samples.parquet")


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Measure, compare, write result.json and every sample's score."""
    console = Console()
    built = factories(cfg, {"suite": SPLIT_KEYS}, suite=SUITE_INJECTED)
    outputs = Outputs(Path(cfg.output_dir))
    outputs.require_writable()
    require_seed("seed", cfg.seed)
    source = built["pair"].build()
    recipe = find_recipe(cfg.recipe, source, built["storage"])
    searched = searched_media(cfg.recipe, built["storage"])
    objective, settings = built["objective"].build(), built["engine"].build()
    with display(console, every=SELDOM) as shown:
        suite = built_suite(built["suite"], outputs, shown.stage)
        require_measurable(objective, suite)
        with _engine(cfg, source, settings, outputs, shown) as engine:
            base = engine.evaluate(base_recipe(len(recipe.layers)), suite)
            merged = engine.evaluate(recipe, suite)
            statuses = engine.statuses(suite)
    folder = (
        outputs.root
        / "evaluations"
        / f"{choices['pair']}-{source.digest}-{choices['suite']}-{suite.digest}-{recipe.digest}"
    )
    for name, evaluation in zip(FILES[1:], (merged, base), strict=True):
        write_samples(folder / name, sample_rows(evaluation, suite, statuses))
    found = outcome(base, merged, suite, objective, cfg.seed)
    known = leakage(searched, suite)
    result = {
        "schema": SCHEMA,
        "pair": source.digest,
        "seed": cfg.seed,
        "recipe": recipe.digest,
        **to_dict(found, base, merged, suite),
        "searched_media": [asdict(medium) for medium in known],
        "media": Counter(status.kind for status in statuses.values()),
        "engine": settings.identity(device_type(resolve_device(cfg.device))),
    }
    write_text(folder / RESULT, json.dumps(result, indent=1) + "\n")
    console.print(_table(cfg.recipe, suite, found))
    for line in (*_found_lines(cfg.recipe, found), *_sample_lines(merged, suite, known, statuses)):
        console.print(line, soft_wrap=True, highlight=False)
    console.print(f"files: {folder}/ ({', '.join(FILES)})", highlight=False, soft_wrap=True)


def _engine(
    cfg: DictConfig, source: PairSource, settings: EngineSettings, outputs: Outputs, shown: Display
) -> Engine:
    return Engine(
        load_pair(source, resolve_device(cfg.device), settings.backbone),
        settings,
        cache=outputs.cache,
        starts={},
        reporter=shown,
    )


def _table(name: str, suite: Suite, found: Outcome) -> Table:
    counts = ", ".join(f"{n} {role}" for role, n in found.n.items() if role != ALL)
    compared = found.difference[ALL].n
    of_them = f", {compared} of them scored on both sides" if compared < found.n[ALL] else ""
    table = Table(title=f"{suite.name}: accuracy ({counts} questions{of_them})")
    for column in ("", "base (the VLM as it is)", name, "difference"):
        table.add_column(column, justify="right" if column else "left")
    for row, one, other in rows_told(found):
        gap = None if one is None or other is None else other - one
        table.add_row(row, _number(one), _number(other), "-" if gap is None else f"{gap:+.3f}")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _found_lines(name: str, found: Outcome) -> Iterator[str]:
    for role, difference in found.difference.items():
        yield f"{name} - base, {role}: {difference_text(asdict(difference))}"
    if found.objective is not None:
        yield f"objective: {found.objective:+.3f}"
    exact = found.comparison.mcnemar
    yield (
        f"right with the recipe alone: {exact.gained}, with the VLM alone: {exact.lost} "
        f"(McNemar's exact test: p = {exact.p:.2g})"
    )
    if (least := found.comparison.detectable) is not None and least <= 1.0:
        yield (
            f"a difference of {least:.3f} is the smallest that such questions would show four "
            "times in five"
        )
    elif least is not None:
        yield "such questions are too few to show any difference four times in five"


def _sample_lines(
    merged: Evaluation,
    suite: Suite,
    known: tuple[SharedMedium, ...],
    statuses: Mapping[str, MediaStatus],
) -> Iterator[str]:
    if (biased := most_biased(merged, suite)) is not None:
        yield (
            f"furthest from even, of {biased.n} questions with as many options: {biased.label} is the "
            f"answer to {biased.share.predicted:.0%}, and right for {biased.share.right:.0%}"
        )
    if suite.left_out:
        yield f"{len(suite.left_out)} rows of the suite are no questions here (merit-opt check)"
    for status, n in Counter(s.status for s in merged.scores if s.value is None).items():
        yield f"{n} samples could not be scored ({status})"
    kinds = Counter(status.kind for status in statuses.values())
    if damaged := [f"{kinds[kind]} {kind}" for kind in ("truncated", "partial") if kinds[kind]]:
        yield f"media of samples used as far as they can be read: {', '.join(damaged)}"
    if known:
        samples = {i for medium in known for i in medium.samples}
        yield (
            f"warning: the search saw {len(known)} of these media, such as {known[0].name}; "
            f"{len(samples)} of {len(suite.samples)} questions are about them "
            "(searched_media in result.json)"
        )
