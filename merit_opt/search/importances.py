"""How much each layer's coefficient matters, as Optuna's evaluators see it.

They are shown what recipes do, a coefficient for every layer and part, 0 where nothing is merged,
instead of what samplers suggest: a coefficient whose mask is off does nothing and would only add
noise, and recipes of every search space compare so.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import create_trial

from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.tracking.record import TrialRecord

# PED-ANOVA wants two trials in the best tenth, and says little of fewer; fANOVA's trees take
# minutes of more than the other number. Both are ours.
FEWEST, MOST_GROWN = 20, 2000
TOP = 0.1

Evaluators = Mapping[str, Callable[[int], BaseImportanceEvaluator]]
EVALUATORS: Evaluators = MappingProxyType(
    {
        "PED-ANOVA": lambda seed: PedAnovaImportanceEvaluator(target_quantile=TOP),
        "fANOVA": lambda seed: FanovaImportanceEvaluator(seed=seed),
    }
)


@dataclass(frozen=True, slots=True)
class Importance:
    """Of one coefficient.

    Attributes:
        evaluator: PED-ANOVA (of reaching the best tenth) or fANOVA (of the value's variance).
        part: Of the layer.
        layer: Decoder layer.
        share: Of the evaluator's sum over all coefficients, in [0, 1].
    """

    evaluator: str
    part: Part
    layer: int
    share: float


def importances(records: Iterable[TrialRecord], seed: int) -> tuple[Importance, ...]:
    """Of every coefficient that proposals varied; empty where too few trials are complete.

    Controls count where they merge only parts that proposals merge, and of equal recipes one.

    Args:
        records: Told trials.
        seed: Of fANOVA's forest.
    """
    complete = {r.recipe: r for r in records if r.state == "COMPLETE" and r.value is not None}
    parts = _parts(r.recipe for r in complete.values() if r.role == "trial")
    used = [r for r in complete.values() if set(_parts([r.recipe])) <= set(parts)]
    varied = _varied([r.recipe for r in used], parts)
    if len(used) < FEWEST or not varied:
        return ()
    study = _study(used, varied)
    return tuple(
        Importance(name, *varied[key], float(share))
        for name, evaluator in EVALUATORS.items()
        if name != "fANOVA" or len(used) <= MOST_GROWN
        for key, share in sorted(_shares(study, evaluator(seed)).items())
    )


def _parts(recipes: Iterable[Recipe]) -> list[Part]:
    found = list(recipes)
    return [part for part in PARTS if any(recipe.coefficients(part) for recipe in found)]


def _varied(recipes: Sequence[Recipe], parts: Sequence[Part]) -> dict[str, tuple[Part, int]]:
    """A parameter's name -> the coefficient it stands for, of those that are not always the same."""
    layers = range(len(recipes[0].layers)) if recipes else range(0)
    return {
        f"{part}.{layer:03d}": (part, layer)
        for part in parts
        for layer in layers
        if len({recipe.coefficients(part).get(layer, 0.0) for recipe in recipes}) > 1
    }


def _study(records: Iterable[TrialRecord], varied: Mapping[str, tuple[Part, int]]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    kinds: dict[str, BaseDistribution] = {n: FloatDistribution(0.0, 1.0) for n in varied}
    for record in records:
        by_part = {part: record.recipe.coefficients(part) for part in PARTS}
        params = {name: by_part[part].get(layer, 0.0) for name, (part, layer) in varied.items()}
        study.add_trial(create_trial(params=params, distributions=kinds, value=record.value))
    return study


def _shares(study: optuna.Study, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    with warnings.catch_warnings():  # scikit-learn's, of trees that see one value alone
        warnings.simplefilter("ignore")
        return get_param_importances(study, evaluator=evaluator)
