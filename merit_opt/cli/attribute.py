"""`merit-opt attribute`: which layers a recipe works through, and which frames its answers rest on."""

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from merit_opt.attribution.anatomy import Anatomy, anatomy_of
from merit_opt.attribution.method import Bench, Found, Method
from merit_opt.attribution.result import Provenance, Run, keep, methods_run
from merit_opt.cli.build import Factory, factories
from merit_opt.cli.given import given
from merit_opt.cli.parts import (
    SPLIT_KEYS,
    SUITE_INJECTED,
    Outputs,
    built_suite,
    find_recipe,
    load_pair,
    require_roles,
    require_seed,
    searched_media,
)
from merit_opt.cli.progress import SELDOM, Display, display
from merit_opt.data.leakage import leakage
from merit_opt.data.split import split_by_group
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.models.device import device_type, resolve_device
from merit_opt.models.source import PairSource
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.references import PREFIX, study_name, tracked_study
from merit_opt.tracking.record import TrackingUnavailable

SPLITS = ("confirm", "search", "all")
METHODS = ("scan", "mask", "leave_out", "gradient", "frames")
OF_MERGED = ("mask", "leave_out")
"""Those that have nothing to do where a recipe merges no layer."""


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Explain one recipe by one method; write its tables and its entry of result.json."""
    console = Console()
    built = factories(cfg, {"suite": SPLIT_KEYS}, suite=SUITE_INJECTED)
    outputs = Outputs(Path(cfg.output_dir))
    outputs.require_writable()
    require_seed("seed", cfg.seed)
    require_seed("suite.split_seed", cfg.suite.split_seed)
    if cfg.split not in SPLITS:
        raise UserError(f"split is one of {', '.join(SPLITS)}; got {cfg.split!r}")
    try:
        with display(console, every=SELDOM) as shown:
            _run(_Request(cfg, choices, built, outputs), console, shown)
    except KeyboardInterrupt:
        console.print(
            "stopped; what was measured is kept. To go on, give the same command again.",
            highlight=False,
        )
        raise


@dataclass(frozen=True)
class _Request:
    """What the user asked for: the configuration, its choices, and the factories it names."""

    cfg: DictConfig
    choices: Mapping[str, str]
    built: Mapping[str, Factory]
    outputs: Outputs

    @property
    def recipe(self) -> str:
        """As the user named it."""
        return self.cfg.recipe


@dataclass(frozen=True)
class _Samples:
    """Those that effects are measured on, and those that the recipe was chosen by."""

    measured: Suite
    search: Suite


def _run(request: _Request, console: Console, shown: Display) -> None:
    cfg, built = request.cfg, request.built
    started = time.monotonic()
    method, settings = built["method"].build(), built["engine"].build()
    shown.stage("comparing the pair's architectures", 0, 1)
    source: PairSource = built["pair"].build()
    recipe = find_recipe(request.recipe, source, built["storage"])
    anatomy = anatomy_of(source)
    samples = _samples(request, shown)
    method.require(recipe, anatomy, samples.measured)
    bill = method.bill(recipe, anatomy, samples.measured)
    console.print(
        f"{request.choices['method']}: {bill}; what is known of an earlier run costs nothing",
        highlight=False,
        soft_wrap=True,
    )
    warnings = _leaks(request, samples.measured)
    for warning in warnings:
        shown.warn(warning)
    with _engine(cfg, source, settings, request.outputs, shown) as engine:
        found = _measured(request, method, engine, (anatomy, recipe, samples), shown)
    run = Run(
        method=request.choices["method"],
        settings=dict(built["method"].arguments),
        seed=cfg.seed,
        provenance=_provenance(request, source, recipe, samples, settings),
        n=_counts(found, samples.measured),
        seconds=time.monotonic() - started,
        warnings=warnings,
    )
    folder = attribution_folder(request.outputs, request.recipe, built["storage"], source, recipe)
    files = keep(folder, request.recipe, recipe, run, found)
    _attach(request, recipe, files, shown)
    console.print(_table(found, samples.measured))
    lines = (*found.shown.lines, *_failed(found), *_left_out(found, samples.measured))
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    _say_what_next(console, request, folder, files, _untried(folder, run.provenance, recipe))


def attribution_folder(
    outputs: Outputs, name: str, storage: Factory, source: PairSource, recipe: Recipe
) -> Path:
    """Where what explains a recipe is kept: in its study's folder, or in one of its pair."""
    if name.startswith(PREFIX):
        study = outputs.study(study_name(storage.build(), name))
        return study / "attribution" / recipe.digest
    return outputs.root / "attributions" / f"{source.digest}-{recipe.digest}"


def _samples(request: _Request, shown: Display) -> _Samples:
    chosen = request.cfg.suite
    suite = built_suite(request.built["suite"], request.outputs, shown.stage)
    split = split_by_group(suite, search_share=chosen.search_share, seed=chosen.split_seed)
    sides = {"confirm": split.confirm, "search": split.search, "all": suite}
    measured = sides[request.cfg.split]
    require_roles(measured, f"suite {suite.name}, split={request.cfg.split},")
    return _Samples(measured, split.search)


def _leaks(request: _Request, suite: Suite) -> list[str]:
    """Of samples that the recipe was chosen by, or that show the same media."""
    known = leakage(searched_media(request.recipe, request.built["storage"]), suite)
    if not known:
        return []
    warning = (
        f"the search saw {len(known)} of these media, such as {known[0].name}: the recipe's own "
        "layers look better here than they are; split=confirm with the study's suite settings "
        "leaves them out"
    )
    return [warning]


def _engine(
    cfg: DictConfig, source: PairSource, settings: EngineSettings, outputs: Outputs, shown: Display
) -> Engine:
    """With the beginnings of the merged model kept, too: every mask but the lowest starts there."""
    n_layers = source.alignment.n_layers
    shown.stage("loading the pair", 0, 1)
    return Engine(
        load_pair(source, resolve_device(cfg.device), settings.backbone),
        replace(settings, prefixes=max(1, settings.prefixes)),
        cache=outputs.cache,
        starts=dict.fromkeys(range(n_layers), 1.0),
        reporter=shown,
    )


def _measured(
    request: _Request,
    method: Method,
    engine: Engine,
    subject: tuple[Anatomy, Recipe, _Samples],
    shown: Display,
) -> Found:
    anatomy, recipe, samples = subject
    bench = Bench(
        engine=engine,
        anatomy=anatomy,
        recipe=recipe,
        suite=samples.measured,
        search=samples.search,
        seed=request.cfg.seed,
        reporter=shown,
    )
    return method.run(bench)


def _provenance(
    request: _Request,
    source: PairSource,
    recipe: Recipe,
    samples: _Samples,
    settings: EngineSettings,
) -> Provenance:
    return Provenance(
        pair=source.digest,
        recipe=recipe.digest,
        suite=samples.measured.name,
        split=request.cfg.split,
        samples=samples.measured.digest,
        search_samples=samples.search.digest,
        merit_opt=version("merit-opt"),
        engine=settings.identity(device_type(resolve_device(request.cfg.device))),
    )


def _attach(request: _Request, recipe: Recipe, files: tuple[Path, ...], shown: Display) -> None:
    """Beside the study's own files where it is tracked; its absence stops nothing."""
    if not request.recipe.startswith(PREFIX):
        return
    storage, tracker = (request.built[group].build() for group in ("storage", "tracking"))
    study = tracked_study(storage, request.recipe)
    try:
        tracker.attach(study, f"attribution/{recipe.digest}", files)
    except TrackingUnavailable as error:
        shown.warn(f"{error}; the files are on disk, and the next run of this command adds them")


def _counts(found: Found, suite: Suite) -> Mapping[str, int]:
    """Samples by role that were looked at."""
    asked = (s for s in suite.samples if s.id not in found.left_out)
    return Counter(suite.role(s) for s in asked) if found.n is None else found.n


def _table(found: Found, suite: Suite) -> Table:
    counts, shown = _counts(found, suite), found.shown
    told = ", ".join(f"{counts.get(role, 0)} {role}" for role in ("TR", "TP"))
    table = Table(title=f"{suite.name}: {shown.title} ({told} questions)")
    for place, column in enumerate(shown.columns):
        table.add_column(column, no_wrap=place == 0)
    for row in shown.rows:
        table.add_row(*row)
    return table


def _failed(found: Found) -> list[str]:
    return [f"could not be measured: {name}: {why}" for name, why in found.failed.items()]


def _left_out(found: Found, suite: Suite) -> list[str]:
    """Each reason once."""
    if not found.left_out:
        return []
    told = f"{len(found.left_out)} of {len(suite.samples)} questions could not be asked"
    whys = "\n  ".join(sorted(set(found.left_out.values())))
    return [f"{told}, and are in no number above:\n  {whys}"]


def _untried(folder: Path, own: Provenance, recipe: Recipe) -> list[str]:
    """Methods that might be next."""
    tried = methods_run(folder, own)
    idle = () if recipe.merged_layers else OF_MERGED
    return [name for name in METHODS if name not in tried and name not in idle]


def _say_what_next(
    console: Console,
    request: _Request,
    folder: Path,
    files: tuple[Path, ...],
    untried: Sequence[str],
) -> None:
    names = ", ".join(path.name for path in files)
    same = again("pair", "suite", "storage", "tracking", "engine", "recipe", "split", "output_dir")
    lines = [f"files: {folder}/ ({names})"]
    lines += [f"  merit-opt attribute{same} method={other}" for other in untried[:1]]
    if request.recipe.startswith(PREFIX):
        study = study_name(request.built["storage"].build(), request.recipe)
        own = again("storage", "tracking", "output_dir")
        lines.append(f"  merit-opt report study={shlex.quote(study)}{own}")
    if len(lines) > 1:
        lines.insert(1, "next:")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def again(*groups: str) -> str:
    """As `given`, but a study's recipe as the user typed it: a sweep escapes its colon."""
    words = shlex.split(given(*groups))
    typed = (w.replace("=study\\:", f"={PREFIX}") for w in words)
    return "".join(f" {shlex.quote(word)}" for word in typed)
