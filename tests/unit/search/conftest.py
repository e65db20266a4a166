"""A world without a model: recipes are scored by their distance from a planted answer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from merit_opt.data.sample import Sample
from merit_opt.data.split import Split, split_by_group
from merit_opt.data.suite import Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.cost import Cost
from merit_opt.evaluation.curtail import Stop
from merit_opt.evaluation.evaluation import Curtailed, Evaluation, Score
from merit_opt.evaluation.objective import Objective, PenalisedGain
from merit_opt.evaluation.screen import Screen
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.models.alignment import AlignedTensor
from merit_opt.recipe.constructors import base
from merit_opt.recipe.origin import Named, Origin
from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.search.budget import Budget
from merit_opt.search.fingerprint import digest
from merit_opt.search.front import Pick, Thrift, choice_of
from merit_opt.search.leases import Lease
from merit_opt.search.plan import StudyPlan
from merit_opt.search.pruners import CURTAIL, Pruning, Stopping
from merit_opt.search.samplers import PerProposal, SeededSampler, tpe
from merit_opt.search.spaces import Layerwise, SearchSpace
from merit_opt.search.storage.memory import in_memory
from merit_opt.search.study import run_study
from merit_opt.search.trial import Bench, keep_choice
from merit_opt.search.warm_start import WarmStart
from merit_opt.search.worker import work
from merit_opt.tracking.record import NoTracker, StudyRecord, Tracker, TrialRecord
from tests.suites import made_up

LAYERS = 6
ORIGIN = Origin(Named("vlm", "a1"), Named("text", "b2"))
ANSWER = {1: 0.7, 4: 1.0}
SLOPES = {"TR": (0.5, 0.7, 0.05, 0.0, 1.0, -0.2), "TP": (-0.1, 0.0, 0.0, -0.3, -0.05, 0.4)}
VIDEOS = 20
ZERO = {"TR": 0.0, "TP": 0.0}
NO_COST = Cost(0.0, 0.0, 0.0, 0.0, 1, 1, 1, 0.0, 1.0, 1.0, None, 0)


@pytest.fixture(autouse=True, scope="session")
def _silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are not what these tests are about, and half of a study's time."""
    for module in ("stats", "gap"):
        monkeypatch.setattr(f"merit_opt.evaluation.{module}.RESAMPLES", 99)


def unseen_suite() -> Suite:
    """Two TR questions and one TP question about each of 20 videos that nobody looks at."""
    samples = tuple(
        Sample(f"v{video}-{kind}", (), "?", ("yes", "no"), 0, (("kind", kind[:2]),), f"v{video}")
        for video in range(VIDEOS)
        for kind in ("TR1", "TR2", "TP1")
    )
    return made_up(samples, {"TR": "TR", "TP": "TP"})


@pytest.fixture(scope="session")
def suite() -> Suite:
    return unseen_suite()


@pytest.fixture(scope="session")
def split(suite: Suite) -> Split:
    return split_by_group(suite, search_share=0.4, seed=0)


def measure(recipe: Recipe, suite: Suite) -> Evaluation:
    """TR rises towards the answer; every other merged layer costs TP."""
    merged = recipe.coefficients()
    miss = sum((merged.get(layer, 0.0) - c) ** 2 for layer, c in ANSWER.items())
    harm = sum(c for layer, c in merged.items() if layer not in ANSWER)
    probability = {"TR": 0.4 + 0.5 * math.exp(-miss), "TP": 0.95 * math.exp(-harm / 8)}

    def score(index: int, sample: Sample) -> Score:
        p = probability[suite.role(sample)]
        hardness = 0.3 + 0.65 * (index % 10) / 10
        return Score(1.0 if p > hardness else 0.0, "A", math.log(p))

    scores = tuple(score(i, s) for i, s in enumerate(suite.samples))
    return Evaluation(suite.digest, recipe.digest, tuple(s.id for s in suite.samples), scores)


@dataclass
class FakeEngine:
    """Measures at once and remembers what it was asked."""

    asked: list[tuple[Recipe, Suite]] = field(default_factory=list)
    cached: dict[tuple[Recipe, str], Mapping[str, Score]] = field(default_factory=dict)
    before: Callable[[Recipe, int], None] = lambda recipe, count: None
    made: int = 0
    screened: list[tuple[Recipe, Suite, tuple[Part, ...]]] = field(default_factory=list)
    before_screen: Callable[[], None] = lambda: None

    def __call__(self) -> "FakeEngine":
        self.made += 1
        return self

    def __enter__(self) -> "FakeEngine":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prepare(self, suite: Suite) -> None:
        pass

    def statuses(self, suite: Suite) -> dict[str, object]:
        return {}

    def evaluate(self, recipe: Recipe, suite: Suite) -> Evaluation:
        self.asked.append((recipe, suite))
        self.before(recipe, len(self.asked))
        found = measure(recipe, suite)
        is_known = len(self.cached.get((recipe, suite.digest), {})) == len(suite.samples)
        self.cached[recipe, suite.digest] = found.by_id
        return replace(found, cost=None if is_known else NO_COST)

    def evaluate_unless(self, recipe: Recipe, suite: Suite, stop: Stop) -> Evaluation | Curtailed:
        found = self.evaluate(recipe, suite)
        if found.cost is None:
            return found
        known = dict(zip(found.ids, found.scores, strict=True))
        scores: dict[str, Score] = {}
        packs = [([i], 1) for i in found.ids]
        for index in stop.order(packs):
            if stop.is_hopeless(scores):
                bound = stop.bound(scores)
                self.cached[recipe, suite.digest] = scores
                return Curtailed(suite.digest, recipe.digest, scores, bound, NO_COST)
            scores[found.ids[index]] = known[found.ids[index]]
        return found

    def screen(self, recipe: Recipe, suite: Suite, parts: Sequence[Part]) -> Screen:
        """Slopes as `measure` has them at the base, but for its layers 0 and 2."""
        self.screened.append((recipe, suite, tuple(parts)))
        self.before_screen()
        slopes = {
            role: {AlignedTensor(i, part, "w"): s for i, s in enumerate(own) for part in parts}
            for role, own in SLOPES.items()
        }
        return Screen(slopes, {}, {}, seconds=12.0, forward_seconds=3.0)

    def known_scores(self, recipe: Recipe, suite: Suite) -> Mapping[str, Score]:
        return self.cached.get((recipe, suite.digest), {})


@dataclass
class Told:
    """A reporter that remembers."""

    stages: list[str] = field(default_factory=list)
    trials: list[TrialRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stage(self, name: str, done: int, total: int) -> None:
        self.stages.append(name)

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, total: int) -> None:
        self.trials.append(record)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@dataclass
class World:
    """Everything of a study but the model, with a way to run it."""

    folder: Path
    split: Split
    storage: Any = field(default_factory=in_memory)
    engine: FakeEngine = field(default_factory=FakeEngine)
    told: Told = field(default_factory=Told)

    space: SearchSpace = field(default_factory=lambda: Layerwise(LAYERS, 0.1, 1.0))
    sampler: SeededSampler = field(default_factory=lambda: tpe(n_startup_trials=10))
    curtails: bool = False
    pruning: Pruning | None = None
    warm_start: WarmStart = "none"
    objective: Objective = field(default_factory=lambda: PenalisedGain("probability", 2.0))
    dashboard: Path | None = None

    def budget(self, trials: int, **changes: Any) -> Budget:
        given = {
            "hours": None,
            "uniform": (0.25, 0.5),
            "parts": PARTS,
            "random_layers": 5,
            "seed": 0,
            "retries": 2,
            **changes,
        }
        return Budget(trials=trials, **given)

    def study(self, seed: int = 0) -> optuna.Study:
        """The study as a new process would open it."""
        sampler = PerProposal(self.sampler, seed=seed, space=self.space)
        study = optuna.create_study(
            storage=self.storage,
            sampler=sampler,
            study_name="s",
            directions=["maximize"] * len(self.objective.values(ZERO, ZERO)),
            load_if_exists=True,
        )
        keep_choice(study, self.choice)
        return study

    @property
    def choice(self) -> Thrift | Pick:
        return choice_of(self.objective, 0.05)

    def bench(self) -> Bench:
        yardstick = Yardstick(
            self.split.search, self.objective, measure(base(LAYERS), self.split.search)
        )

        def measure_one(recipe: Recipe, stop: Stop | None) -> Evaluation | Curtailed:
            if stop is None:
                return self.engine.evaluate(recipe, self.split.search)
            return self.engine.evaluate_unless(recipe, self.split.search, stop)

        def known(recipe: Recipe) -> Mapping[str, Score]:
            return self.engine.known_scores(recipe, self.split.search)

        stopping = self.stopping and Stopping(self.stopping.make(yardstick), known)
        return Bench(self.space, measure_one, yardstick, stopping)

    def work_open(self, trials: int) -> optuna.Study:
        """As `run`, which opens the study as a whole; gives the study."""
        self.run(trials)
        return self.study()

    @property
    def stopping(self) -> Pruning | None:
        return CURTAIL if self.curtails else self.pruning

    def work(self, trials: int, **changes: Any) -> optuna.Study:
        """A worker's whole life on the study."""
        budget = self.budget(trials, **changes)
        study = self.study(budget.seed)
        with Lease(self.storage) as lease:
            work(
                study,
                self.bench(),
                budget=budget,
                lease=lease,
                watch=lambda record, best, done: self.told.trials.append(record),
            )
        return study

    def plan(
        self, trials: int, parts: Mapping[str, str] | None = None, **changes: Any
    ) -> StudyPlan:
        parts = {"pair": "p", "space": "s"} if parts is None else parts
        return StudyPlan(
            record=StudyRecord("s", digest(parts), {}, "seed: 0\n", origin=ORIGIN),
            folder=self.folder / "studies" / "s",
            budget=self.budget(trials, **changes),
            space=self.space,
            sampler=self.sampler,
            pruning=self.stopping,
            objective=self.objective,
            choice=self.choice,
            split=self.split,
            fingerprint=parts,
            warm_start=self.warm_start,
            dashboard=self.dashboard,
        )

    def run(self, trials: int, tracker: Tracker | None = None, **changes: Any) -> dict[str, Any]:
        """A whole `merit-opt search`, without command line and model."""
        return run_study(
            self.plan(trials, **changes),
            storage=self.storage,
            tracker=tracker or NoTracker(),
            engine=self.engine,
            reporter=self.told,
        )


@pytest.fixture
def world(tmp_path: Path, split: Split) -> World:
    return World(tmp_path, split)


@pytest.fixture
def failing() -> Callable[[set[int]], Callable[[Recipe, int], None]]:
    """Makes an engine fail at the evaluations of these numbers, the first being 1."""

    def at(numbers: set[int]) -> Callable[[Recipe, int], None]:
        def before(recipe: Recipe, count: int) -> None:
            if count in numbers:
                raise TrialFailed(f"out of memory at {count}")

        return before

    return at
