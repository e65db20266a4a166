"""`merit-opt check`: every problem at once, before any weights load."""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig
from rich.console import Console

from merit_opt.cli.build import Factory, factories
from merit_opt.cli.check_pair import (
    WARNING,
    distance_lines,
    finite_lines,
    pair_lines,
    spread_lines,
)
from merit_opt.cli.check_suite import media_lines, suite_lines
from merit_opt.cli.given import given
from merit_opt.cli.parts import (
    MERGEKIT,
    SPLIT_KEYS,
    SUITE_INJECTED,
    Outputs,
    built_suite,
    find_recipe,
    require_roles,
)
from merit_opt.cli.progress import Display, display
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError, without_credentials
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.models.device import resolve_device
from merit_opt.models.features import FeatureStore
from merit_opt.models.footprint import (
    MediumShape,
    footprint,
)
from merit_opt.models.source import PairSource
from merit_opt.search.references import PREFIX
from merit_opt.units import GIB, size_text

SPACE_WANTED_GIB = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class _Step:
    """Something to look at.

    Attributes:
        subject: What it is about, as `only=` names it.
        lines: What is told of it.
        needs: Steps without which it makes no sense.
        after: Steps to take before, well or not.
    """

    subject: str
    lines: Callable[[], Iterator[str]]
    needs: tuple["_Step", ...] = ()
    after: tuple["_Step", ...] = ()


@dataclass(frozen=True)
class _Findings:
    """What has been looked at.

    Attributes:
        console: Where each line is told.
        only: Subjects to tell of; what they need is looked at in silence.
        problems: What does not fit.
        warnings: What fits, and will hardly be meant.
        known: Whether a step was taken, and there is no problem.
    """

    console: Console
    only: Collection[str]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    known: dict[_Step, bool] = field(default_factory=dict[_Step, bool])

    def look(self, step: _Step) -> bool:
        """Whether all is well with it, and with what it needs."""
        if step not in self.known:
            needs = [self.look(one) for one in step.needs]
            for one in step.after:
                self.look(one)
            self.known[step] = all(needs) and self._taken(step)
        return self.known[step]

    def _taken(self, step: _Step) -> bool:
        try:
            for line in step.lines():
                if step.subject in self.only:
                    self._tell(step.subject, line)
        except UserError as error:
            self.problems.append(f"{step.subject}: {error}")
            return False
        return True

    def _tell(self, subject: str, line: str) -> None:
        self.console.print(f"{subject}: {line}", highlight=False, soft_wrap=True)
        if line.startswith(WARNING):
            self.warnings.append(line.removeprefix(WARNING))

    def verdict(self) -> str:
        """How many warnings, or that there are none.

        Raises:
            UserError: There are problems; all are in the message.
        """
        if self.problems:
            raise UserError("\n  ".join([f"{len(self.problems)} problem(s):", *self.problems]))
        if not self.warnings:
            return "all is well"
        plural = "s" if len(self.warnings) > 1 else ""
        return f"{len(self.warnings)} warning{plural}: {'; '.join(self.warnings)}"


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Say what is fine and what is not.

    Raises:
        UserError: Something is not; every problem is in the message.
    """
    console = Console()
    with display(console) as shown:
        steps = _steps(cfg, shown)
        only = _only(cfg.only, tuple(dict.fromkeys(step.subject for step in steps)))
        found = _Findings(console, only)
        for step in steps:
            if step.subject in only:
                found.look(step)
    verb = "search" if cfg.recipe is None else "evaluate"
    following = "" if cfg.only else f"; next: merit-opt {verb}{given()}"
    line = without_credentials(found.verdict() + following)
    console.print(line, highlight=False, soft_wrap=True)


def _steps(cfg: DictConfig, shown: Display) -> tuple[_Step, ...]:
    """All there is to look at, in the order in which it is told."""
    built = factories(cfg, {"suite": SPLIT_KEYS}, suite=SUITE_INJECTED)
    outputs, shapes = Outputs(Path(cfg.output_dir)), list[MediumShape]()
    pair, engine = cache(built["pair"].build), cache(built["engine"].build)
    suite = cache(lambda: built_suite(built["suite"], outputs, shown.stage))
    of_pair = _Step("pair", lambda: pair_lines(pair()))
    of_suite = _Step("suite", lambda: suite_lines(suite()))
    of_device = _Step("device", lambda: iter([resolve_device(cfg.device)]))
    of_engine = _Step("engine", lambda: iter([repr(engine())]))
    quarantine = Quarantine(outputs.quarantine)
    of_media = _Step(
        "suite",
        lambda: media_lines(suite(), engine().media, quarantine, shapes, shown),
        needs=(of_suite, of_engine),
    )
    of_room = _Step(
        "engine",
        lambda: _room_lines(engine(), pair(), shapes, outputs),
        needs=(of_pair, of_suite, of_engine),
        after=(of_media,),
    )
    of_spread = _Step(
        "engine",
        lambda: spread_lines(pair(), resolve_device(cfg.device), engine()),
        needs=(of_device, of_pair, of_engine),
    )
    of_recipe = _Step("recipe", lambda: _recipe_lines(cfg, pair(), built["storage"]), (of_pair,))
    of_roles = _Step("suite", lambda: _role_lines(suite(), cfg.recipe), (of_suite,))
    return (
        _Step("output_dir", lambda: _output_lines(outputs)),
        of_device,
        of_pair,
        _Step("pair", lambda: distance_lines(pair(), shown), (of_pair,)),
        _Step("pair", lambda: finite_lines(pair(), shown), (of_pair,)),
        of_recipe,
        of_suite,
        of_roles,
        _Step("storage", lambda: _storage_lines(built["storage"].build())),
        of_engine,
        of_media,
        of_room,
        of_spread,
    )


def _only(given: Any, subjects: Collection[str]) -> Collection[str]:
    """Those to tell of; all where none is named."""
    if not isinstance(given, ListConfig):
        such = next((one for one in subjects if one == given), next(iter(subjects)))
        raise UserError(f"only is a list, such as only=[{such}]")
    chosen = [str(one) for one in given]
    if unknown := [one for one in chosen if one not in subjects]:
        raise UserError(f"only takes some of {', '.join(subjects)}; got {', '.join(unknown)}")
    return chosen or subjects


def _output_lines(outputs: Outputs) -> Iterator[str]:
    outputs.require_writable()
    free = shutil.disk_usage(outputs.root).free / GIB
    if free < SPACE_WANTED_GIB:
        raise UserError(f"{outputs.root} has {free:.1f} GiB free, {SPACE_WANTED_GIB} wanted")
    yield f"{outputs.root}, {free:.0f} GiB free"


def _role_lines(suite: Suite, recipe: str | None) -> Iterator[str]:
    """Nothing, where both roles are there, or a recipe shall be measured.

    Raises:
        UserError: A search compares both.
    """
    if recipe is None:
        require_roles(suite, f"suite {suite.name}")
    yield from ()


def _recipe_lines(cfg: DictConfig, source: PairSource, storage: Factory) -> Iterator[str]:
    name: str | None = cfg.recipe
    if name is None and "recipe" in cfg.only:
        raise UserError("recipe= names none to look at; give it, or take recipe out of only=")
    if name is None:
        return
    if name.startswith((PREFIX, MERGEKIT)) and not all(c.has_weights for c in source.checkpoints):
        yield f"{name} is compared with the pair once a run fetched the weights"
        return
    recipe = find_recipe(name, source, storage)
    yield f"{name} merges {len(recipe.merged_layers)} of {len(recipe.layers)} layers"


def _room_lines(
    settings: EngineSettings,
    source: PairSource,
    shapes: Sequence[MediumShape],
    outputs: Outputs,
) -> Iterator[str]:
    """What the suite's features and hidden states will take."""
    found = footprint(source, shapes)
    levels = settings.levels
    useful = source.alignment.n_layers - 1
    fitting = min(useful, (levels.device + levels.host) // max(1, found.level))
    yield (
        f"{found.visual_tokens:,} visual tokens; their features take {size_text(found.features)} in "
        f"{outputs.cache} (engine.features_gib={settings.features_gib:g})"
    )
    yield (
        f"hidden states take {size_text(found.level)} a level, questions not counted; "
        f"{fitting} of {useful} levels fit (engine.levels_gib={settings.levels_gib:g}, "
        f"engine.host_levels_gib={settings.host_levels_gib:g})"
    )
    yield f"self-attention takes {size_text(found.attention)}, kept of the VLM and of the backbone"
    if found.features > settings.feature_bytes:
        raise UserError(
            f"the visual features of the suite take {size_text(found.features)}, more than "
            f"engine.features_gib={settings.features_gib:g}; raise it, or they are computed again "
            "in every process"
        )
    store = FeatureStore(outputs.features, settings.feature_bytes)
    if found.features - store.size > (free := shutil.disk_usage(outputs.root).free):
        raise UserError(
            f"the visual features of the suite take {size_text(found.features)}, and {outputs.root} "
            f"has {size_text(free)} free; choose another output_dir="
        )


def _storage_lines(storage: Any) -> Iterator[str]:
    studies = storage.get_all_studies()
    yield f"{len(studies)} studies" + "".join(f"; {s.study_name}" for s in studies)
