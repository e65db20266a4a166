"""The searches that are compared, and one run of one of them through the project's own code."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import optuna
from optuna.study import Study
from optuna.trial import FixedTrial, TrialState, create_trial
from testbed import PENALTY, Testbed

from merit_opt.evaluation.evaluation import Evaluation, Measure
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.constructors import base
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.controls import enqueue_controls
from merit_opt.search.flip_sampler import flips
from merit_opt.search.priors import PRICE, PRIOR, Prior, Source
from merit_opt.search.samplers import (
    PerProposal,
    SeededSampler,
    cmaes,
    gp,
    random,
    tpe,
)
from merit_opt.search.spaces import Layerwise, Merit, SearchSpace
from merit_opt.search.trial import Bench, run_trial
from merit_opt.tracking.record import TrialRecord

ASKED = 10  # times the budget: a sampler that only repeats itself has ended
DEPTHS = (2, 4, 6, 8, 11)  # switches that the seeds turn on, of 28


@dataclass(frozen=True, slots=True)
class Method:
    """A search as it is configured.

    Attributes:
        space: For a number of layers.
        sampler: See `merit_opt.search.samplers`.
        score: What it optimises; it is judged by accuracy.
        source: Of the prior, if any.
        has_seeds: Whether the prior's top layers are tried first, beside ordering the switches.
        budget: Distinct recipes and the prior's bill, in all.
        seeds: How often it is run at most.
    """

    space: Callable[[int], SearchSpace]
    sampler: SeededSampler
    score: Measure = "probability"
    source: Source | None = None
    has_seeds: bool = False
    budget: int = 300
    seeds: int = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A recipe that a run measured for the first time.

    Attributes:
        record: Its trial.
        spent: Trials until then, this one and the prior's bill included.
    """

    record: TrialRecord
    spent: float


def layerwise(n_layers: int) -> SearchSpace:
    """As conf/space/layerwise.yaml."""
    return Layerwise(n_layers, 0.1, 1.0)


def merit(low: float, high: float) -> Callable[[int], SearchSpace]:
    """The paper's two states, at coefficients that it does not give."""
    return lambda n_layers: Merit(n_layers, low, high)


LEAST_SHARE = 0.05  # as study.least_share in conf/search.yaml
FLIPS, CMAES = flips(max_pairs=30, least_share=LEAST_SHARE), cmaes(sigma0=None)

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "default": Method(layerwise, FLIPS),
        "flips+gradient": Method(layerwise, FLIPS, source="gradient"),
        "flips+scan": Method(layerwise, FLIPS, source="scan"),
        "flips+gradient+seeds": Method(layerwise, FLIPS, source="gradient", has_seeds=True),
        "default:accuracy": Method(layerwise, FLIPS, score="accuracy"),
        "default:log_probability": Method(layerwise, FLIPS, score="log_probability"),
        "paper:0/1": Method(merit(0.0, 1.0), CMAES),
        "paper:.1/.9": Method(merit(0.1, 0.9), CMAES),
        "paper:.25/.75": Method(merit(0.25, 0.75), CMAES),
        "paper:0/1:accuracy": Method(merit(0.0, 1.0), CMAES, score="accuracy"),
        "random": Method(layerwise, random(), budget=100),
        "tpe": Method(layerwise, tpe(n_startup_trials=20), budget=100),
        "gp": Method(merit(0.0, 1.0), gp(n_startup_trials=10), budget=60, seeds=4),
    }
)


def search(testbed: Testbed, method: Method, seed: int) -> Iterator[Found]:
    """Run a method, recipe by recipe; those measured before are answered and not counted."""
    space = method.space(testbed.n_layers)
    study = optuna.create_study(
        sampler=PerProposal(method.sampler, seed=seed, space=space), direction="maximize"
    )
    unmerged = base(testbed.n_layers)
    enqueue_controls(study, [("base", unmerged)], space)
    spent = _prepared(study, testbed, method, space)
    answers: dict[str, Evaluation] = {}

    def measure(recipe: Recipe, _: object) -> Evaluation:
        if recipe.digest not in answers:
            answers[recipe.digest] = testbed.measure(recipe)
        return answers[recipe.digest]

    objective = PenalisedGain(method.score, PENALTY)
    yardstick = Yardstick(testbed.suite, objective, measure(unmerged, None))
    bench = Bench(space, measure, yardstick, None)
    seen: set[str] = set()
    for _ in range(ASKED * method.budget):
        record = run_trial(study, study.ask(), bench)
        if record.recipe.digest in seen or record.value is None:
            continue
        seen.add(record.recipe.digest)
        spent += 1
        if spent > method.budget:
            return
        yield Found(record, spent)


def _prepared(study: Study, testbed: Testbed, method: Method, space: SearchSpace) -> float:
    """Give the study its prior.

    Returns:
        Its bill.
    """
    if method.source is None:
        return 0.0
    prior = testbed.prior(method.source)
    study.set_user_attr(PRICE, PENALTY)
    study.set_user_attr(PRIOR, prior.to_dict())
    if method.has_seeds:
        _enqueue_seeds(study, prior, space)
    return prior.bill


def _enqueue_seeds(study: Study, prior: Prior, space: SearchSpace) -> None:
    gains = prior.gains(PENALTY)
    ranked = sorted((i for i, gain in enumerate(gains) if gain > 0), key=lambda i: -gains[i])
    for depth in dict.fromkeys(-(-len(gains) * depth // 28) for depth in DEPTHS):
        if depth > len(ranked):
            return
        chosen = [s.on if s.layers[0] in ranked[:depth] else s.off for s in space.switches]
        params = {name: value for one in chosen for name, value in one.items()}
        space.suggest(FixedTrial(params))
        study.add_trial(
            create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": params})
        )
