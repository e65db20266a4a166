"""A model of the objective over recipes, and how far to believe it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict

from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.tracking.record import TrialRecord

# Ours: five folds of fewer trials say nothing.
FEWEST, FOLDS, TREES = 20, 5, 100


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Extremely randomised trees over the coefficients of every layer.

    Attributes:
        measured: Values of the trials.
        predicted: Of each, by trees fitted to other trials (5-fold).
        r2: Of these predictions, held out.
        effects: (part, layer) -> what merging it as far as any trial did adds to the value, on
            average over the trials.
    """

    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    r2: float
    effects: dict[tuple[Part, int], float]


def surrogate(records: Sequence[TrialRecord], seed: int) -> Surrogate | None:
    """Fitted to what was measured in full; None where that is too little.

    Of equal recipes to one; to controls where they merge only parts that proposals merge.
    """
    measured = [r for r in records if r.state == "COMPLETE" and r.value is not None]
    searched = {part for r in measured if r.role == "trial" for part in _parts(r.recipe)}
    complete = {r.recipe: r.value for r in measured if _parts(r.recipe) <= searched}
    if len(complete) < FEWEST or len(set(complete.values())) < 2:
        return None
    inputs, names = _inputs(list(complete))
    values = np.array([value for value in complete.values() if value is not None])
    trees = ExtraTreesRegressor(TREES, random_state=seed, n_jobs=1)
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(trees, inputs, values, cv=folds)
    trees.fit(inputs, values)
    return Surrogate(
        measured=tuple(map(float, values)),
        predicted=tuple(map(float, predicted)),
        r2=float(r2_score(values, predicted)),
        effects={name: _effect(trees, inputs, i) for i, name in enumerate(names)},
    )


def _parts(recipe: Recipe) -> set[Part]:
    return {part for part in PARTS if recipe.coefficients(part)}


def _inputs(recipes: Sequence[Recipe]) -> tuple[NDArray[np.float64], list[tuple[Part, int]]]:
    """float64 [recipes, coefficients] of all that vary, and which they are."""
    layers = range(len(recipes[0].layers))
    every: list[tuple[Part, int]] = [(part, layer) for part in PARTS for layer in layers]
    by_part = [{part: recipe.coefficients(part) for part in PARTS} for recipe in recipes]
    table = np.array([[own[part].get(layer, 0.0) for part, layer in every] for own in by_part])
    varied = np.flatnonzero(np.ptp(table, axis=0) > 0.0)
    return table[:, varied], [every[i] for i in varied]


def _effect(trees: ExtraTreesRegressor, inputs: NDArray[np.float64], column: int) -> float:
    off, on = inputs.copy(), inputs.copy()
    off[:, column] = 0.0
    on[:, column] = inputs[:, column].max()
    return float(np.mean(trees.predict(on) - trees.predict(off)))
