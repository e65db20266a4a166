"""`merit-opt search`: run, resume or join a study."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from merit_opt.cli.build import Factory, factories
from merit_opt.cli.given import given
from merit_opt.cli.launchers import WORKER, is_alone
from merit_opt.cli.parts import (
    SAMPLER_KEYS,
    SPLIT_KEYS,
    SUITE_INJECTED,
    Outputs,
    built_suite,
    load_pair,
    require_roles,
    require_seed,
)
from merit_opt.cli.progress import Display, display
from merit_opt.cli.tables import show_study
from merit_opt.data.split import Split, split_by_group
from merit_opt.errors import UserError, without_credentials
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.margins import require_margins
from merit_opt.evaluation.objective import Objective, require_measurable
from merit_opt.models.device import device_type, resolve_device
from merit_opt.models.source import PairSource
from merit_opt.recipe.recipe import Part
from merit_opt.search import dashboard
from merit_opt.search.abilities import require_able, short_of_trials
from merit_opt.search.budget import Budget
from merit_opt.search.conclusion import RESULT
from merit_opt.search.fingerprint import digest
from merit_opt.search.front import Thrift, choice_of
from merit_opt.search.plan import StudyPlan
from merit_opt.search.pruners import Pruning
from merit_opt.search.samplers import SeededSampler
from merit_opt.search.spaces import SearchSpace, all_on, first_layers
from merit_opt.search.study import run_study
from merit_opt.search.warm_start import as_warm_start
from merit_opt.tracking.record import StudyRecord

OWN_KEYS = {"suite": SPLIT_KEYS, "sampler": SAMPLER_KEYS}
NAMED_BY = ("pair", "suite", "space", "sampler")
FOUR = "-m 'worker=range(0,4)' hydra/launcher=joblib"
# Of a suite: where its files lie on this machine, and how many may fail before a run is refused.
UNIMPORTANT = ("root", "path", "download", "max_unusable", "margins")


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Run one study to its end and say what it found."""
    console, started = Console(), time.monotonic()
    built = factories(cfg, OWN_KEYS, suite=SUITE_INJECTED, space={"n_layers"})
    outputs = Outputs(Path(cfg.output_dir))
    outputs.require_writable()
    if cfg.study.dashboard:
        dashboard.require_installed()
    require_seed("seed", cfg.seed)
    require_seed("suite.split_seed", cfg.suite.split_seed)
    own = cfg.study.name or "-".join([*(choices[k] for k in NAMED_BY), f"s{cfg.seed}"])
    name = cfg.study.fork or own
    forks = None if cfg.study.fork is None else own
    teller = _teller(cfg.worker, choices, name)
    origin = f", forked from {forks}" if forks else ""
    console.print(f"{teller}starts" if teller else f"study {name}{origin}", highlight=False)
    try:
        with display(console, teller) as shown:
            result = _run(_Request(cfg, choices, built, outputs, name, forks, started), shown)
    except KeyboardInterrupt:
        console.print(
            f"{teller}stopped; nothing measured is lost. To go on, give the same command again "
            f"(study {name} in {outputs.root}).",
            highlight=False,
            soft_wrap=True,
        )
        raise
    if cfg.worker:
        told = outputs.study(name) / RESULT
        console.print(f"{teller}done; result: {told}", highlight=False, soft_wrap=True)
        return
    show_study(console, result)
    _say_what_next(console, outputs, name, cfg)


def _teller(worker: int, choices: Mapping[str, str], name: str) -> str:
    """What a worker's lines begin with, where it may not be the only one at this terminal."""
    if worker < 0:
        raise UserError(f"worker is 0 or more, got {worker}")
    return "" if worker == 0 and is_alone(choices) else f"{name}, worker {worker}: "


@dataclass(frozen=True)
class _Request:
    """What the user asked for: the configuration, its choices, and the factories it names.

    Attributes:
        forks: The study to begin from, if any.
        started: When that was, by the monotonic clock.
    """

    cfg: DictConfig
    choices: Mapping[str, str]
    built: Mapping[str, Factory]
    outputs: Outputs
    name: str
    forks: str | None
    started: float


def _run(request: _Request, shown: Display) -> Mapping[str, Any]:
    built = request.built
    settings = built["engine"].build()
    device = resolve_device(request.cfg.device)
    shown.stage("comparing the pair's architectures", 0, 1)
    source: PairSource = built["pair"].build()
    space = _space(request, source)  # before the digest, which may have to download weights
    identity = {"pair": source.digest, "engine": settings.identity(device_type(device))}
    plan = _plan(request, space, _budget(request, source.alignment.parts), identity, shown)
    plan = replace(plan, record=replace(plan.record, origin=source.origin(all_on(space))))

    def engine() -> Engine:
        shown.stage("loading the pair", 0, 1)
        return Engine(
            load_pair(source, device, settings.backbone),
            settings,
            cache=request.outputs.cache,
            starts=first_layers(plan.space),
            reporter=shown,
        )

    return run_study(
        plan,
        storage=built["storage"].build(),
        tracker=built["tracking"].build(),
        engine=engine,
        reporter=shown,
    )


def _plan(
    request: _Request,
    space: SearchSpace,
    budget: Budget,
    identity: Mapping[str, str],
    shown: Display,
) -> StudyPlan:
    cfg, built = request.cfg, request.built
    objective, sampler = built["objective"].build(), built["sampler"].build()
    chosen = request.choices["sampler"]
    unheeded = require_able(sampler, chosen, space, objective)
    for remark in filter(None, (unheeded, short_of_trials(sampler, chosen, space, budget))):
        shown.warn(remark)
    choice = choice_of(objective, cfg.study.least_share)
    split = _split(request, shown)
    require_measurable(objective, split.search)
    warm_start = as_warm_start(cfg.sampler.warm_start)
    if warm_start == "gradient":
        require_margins(split.search, "sampler.warm_start=gradient")
    pruning = _pruning(request, sampler, objective, split, shown)
    parts = {
        **identity,
        "search samples": split.search.digest,
        "confirm samples": split.confirm.digest,
        "space": repr(space),
        "objective": objective.identity,
        "suite": repr({k: v for k, v in built["suite"].arguments.items() if k not in UNIMPORTANT}),
        "sampler": f"{chosen} {dict(built['sampler'].arguments)}",
        "warm start": warm_start,
        "pruner": "none" if pruning is None else pruning.name,
        "seed": str(cfg.seed),
    }
    if isinstance(choice, Thrift):
        parts["least share"] = str(choice.share)
    facts = {key: request.choices[key] for key in NAMED_BY}
    facts |= {"seed": str(cfg.seed), "trials": str(budget.trials), "warm_start": warm_start}
    shared = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != WORKER])
    config = without_credentials(OmegaConf.to_yaml(shared))
    return StudyPlan(
        record=StudyRecord(request.name, digest(parts), facts, config),
        folder=request.outputs.study(request.name),
        budget=budget,
        space=space,
        sampler=sampler,
        pruning=pruning,
        objective=objective,
        choice=choice,
        split=split,
        fingerprint=parts,
        warm_start=warm_start,
        forks=request.forks,
        dashboard=request.outputs.dashboard if cfg.study.dashboard else None,
    )


def _pruning(
    request: _Request,
    sampler: SeededSampler,
    objective: Objective,
    split: Split,
    shown: Display,
) -> Pruning | None:
    pruning = request.built["pruner"].build()(sampler)
    if pruning is not None and (why := pruning.in_full_because(objective, split.search)):
        shown.warn(why)
        return None
    return pruning


def _space(request: _Request, source: PairSource) -> SearchSpace:
    """The search space; the pair can have every recipe of it.

    Raises:
        UserError: It merges what this pair keeps, or by a rule that needs a base.
    """
    space: SearchSpace = request.built["space"].build(n_layers=source.alignment.n_layers)
    try:
        source.require(all_on(space))
    except UserError as error:
        raise UserError(f"space={request.choices['space']}: {error}") from None
    return space


def _budget(request: _Request, parts: tuple[Part, ...]) -> Budget:
    cfg = request.cfg
    return Budget(
        trials=cfg.study.trials,
        hours=cfg.study.hours,
        uniform=tuple(cfg.study.uniform),
        parts=parts,
        random_layers=cfg.study.random_layers,
        seed=cfg.seed,
        retries=cfg.study.retries,
        started=request.started,
    )


def _split(request: _Request, shown: Display) -> Split:
    suite = built_suite(request.built["suite"], request.outputs, shown.stage)
    require_roles(suite, f"suite {suite.name}")
    chosen = request.cfg.suite
    split = split_by_group(suite, search_share=chosen.search_share, seed=chosen.split_seed)
    for side in (split.search, split.confirm):
        require_roles(side, f"one side of the split of suite {suite.name}")
    return split


def _say_what_next(console: Console, outputs: Outputs, name: str, cfg: DictConfig) -> None:
    uri = cfg.tracking.get("uri")
    found, same = given("pair", "storage", "output_dir"), given(but="study.trials")
    lines = [
        f"files: {outputs.study(name)}/ (result.json, recipes/best.json)",
        "next:",
    ]
    if "seed" in cfg.suite:
        alike = given(
            "pair", "suite", "objective", "storage", "engine", "output_dir", but="suite.seed"
        )
        lines.append(
            f"  merit-opt evaluate{alike} recipe=study:{name} suite.seed={cfg.suite.seed + 1}"
            "   # on videos nobody has seen"
        )
    more = f"{same} study.trials={2 * cfg.study.trials}"
    explained = given("pair", "suite", "storage", "tracking", "engine", "output_dir")
    lines += [
        f"  merit-opt attribute{explained} recipe=study:{name}   # which layers it works through",
        f"  merit-opt report{given('storage', 'tracking', 'output_dir')} study={name}   # one page, with figures",
        f"  merit-opt export{found} recipe=study:{name} out=merged-{name}   # for from_pretrained",
        f"  merit-opt search{more}   # go on searching ({FOUR} for four workers)",
    ]
    if uri and uri.startswith("sqlite"):
        lines.append(f"  mlflow ui --backend-store-uri {uri}   # every trial, in the browser")
    if cfg.study.dashboard:
        place = cfg.storage.get("url") or cfg.storage.get("path")
        look = dashboard.command(place, outputs.dashboard)
        lines.append(f"  {look}   # what the search is learning, in the browser")
    console.print(without_credentials("\n".join(lines)), highlight=False, soft_wrap=True)
