"""A pair of 28 layers that costs nothing to try: questions with margins, under a law we wrote.

The law is assumed, not fitted to any model. Six layers help (S-shaped in the coefficient), ten harm
temporal reasoning and perception alike (quadratic), twelve do next to nothing; pairs of layers
interact at random; every question feels each layer a little differently. A question's margin is the
log-odds of its right option, halved.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from merit_opt.data.media.frames import ALL_FRAMES
from merit_opt.data.prompts import LETTER_AFTER_OPTION
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Asking, Roles, Suite
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.recipe.constructors import attention, base
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.priors import Prior, Source

Vector = NDArray[np.float64]
Benefit = Callable[[Vector, Vector], float]

LAYERS, USEFUL = 28, 6
SEARCH_SAMPLES = {"TR": 177, "TP": 55}
HELD_OUT_SAMPLES = {"TR": 2000, "TP": 1000}
PENALTY = 2.0  # of the accuracy that recipes are judged by
GRADIENT_BILL = 4.0  # a forward and two backward passes, in evaluations
TRUST = 0.7  # correlation of the simulated gradient with the true one
STEP = 1e-3


def saturating(weights: Vector, strength: Vector) -> float:
    """Nearly additive: the more is there, the less another layer adds."""
    return float(np.tanh(1.3 * weights @ strength) / np.tanh(1.3))


def convex(weights: Vector, strength: Vector) -> float:
    """The square of the sum: the more is there, the more another layer adds."""
    return float(weights @ strength) ** 2


def only_in_pairs(weights: Vector, strength: Vector) -> float:
    """Each useful layer harms alone and helps with its partner; all pairs are worth the same."""
    pairs = np.flatnonzero(weights).reshape(-1, 2)
    one, other = strength[pairs[:, 0]], strength[pairs[:, 1]]
    return float(np.sum(1.4 * one * other - 0.2 * (one + other)) / len(pairs))


def half_in_pairs(weights: Vector, strength: Vector) -> float:
    """Four useful layers help one by one, the other two only together."""
    useful = np.flatnonzero(weights)
    single = np.where(np.isin(np.arange(LAYERS), useful[:4]), weights, 0.0)
    one, other = strength[useful[4:]]
    together = 1.4 * one * other - 0.2 * (one + other)
    return 0.65 * saturating(single / single.sum(), strength) + 0.35 * float(together)


def only_in_threes(weights: Vector, strength: Vector) -> float:
    """Two groups of three; a layer harms unless its group is complete."""
    groups = strength[np.flatnonzero(weights).reshape(-1, 3)]
    return float(np.sum(1.6 * groups.prod(axis=1) - 0.2 * groups.sum(axis=1)) / len(groups))


@dataclass(frozen=True, slots=True)
class Law:
    """What a testbed's layers do.

    Attributes:
        benefit: Weights of the useful layers and strength of every layer -> share of the gain.
        gain: Margin that a temporal question gains, on average, when all useful layers are there.
        harm: Scales what the harmful layers cost.
        interaction: Spread of the random pair terms.
    """

    benefit: Benefit
    gain: float = 0.7
    harm: float = 1.0
    interaction: float = 0.03


LAWS: Mapping[str, Law] = MappingProxyType(
    {
        "surrogate": Law(saturating),
        "and_pairs": Law(only_in_pairs),
        "small_gain": Law(saturating, gain=0.35, harm=0.5),
        "strong_interaction": Law(saturating, interaction=0.09),
        "convex": Law(convex),
        "half_in_pairs": Law(half_in_pairs),
        "only_in_threes": Law(only_in_threes),
    }
)


@dataclass(frozen=True)
class Questions:
    """One row a question.

    Attributes:
        start: Margin under the VLM, (n,).
        gain: How much of a benefit it feels, (n,).
        harm: How much of a harm it feels, (n,).
        taste: What each layer does to it alone, (n, LAYERS).
    """

    start: Vector
    gain: Vector
    harm: Vector
    taste: Vector


@dataclass(frozen=True)
class Surrogate:
    """A pair under a law; one per seed.

    Attributes:
        name: The law's, and the testbed's.
        seed: Which pair.
    """

    name: str
    seed: int
    n_layers: int = LAYERS
    decoys: frozenset[int] = frozenset()

    @property
    def pair(self) -> str:
        """See `Testbed`."""
        return f"{self.seed:02d}"

    @property
    def useful(self) -> frozenset[int]:
        """See `Testbed`."""
        return frozenset(int(layer) for layer in np.flatnonzero(self._world.weights))

    @cached_property
    def suite(self) -> Suite:
        """See `Testbed`."""
        asking = Asking(LETTER_AFTER_OPTION, ALL_FRAMES, scorer="letter_logprob", permutations=1)
        roles = Roles("kind", {"TR": "TR", "TP": "TP"})
        return Suite(self.name, self.pair, tuple(_samples()), asking, roles, (), 0.0)

    @cached_property
    def oracle(self) -> Recipe:
        """The useful layers alone, at the coefficient that is best on held-out questions."""
        recipes = [attention(LAYERS, dict.fromkeys(self.useful, c)) for c in (0.5, 0.75, 1.0)]
        return max(recipes, key=lambda recipe: held_out_gain(self, recipe))

    def measure(self, recipe: Recipe) -> Evaluation:
        """See `Testbed`."""
        found = self._world.margins(_vector(recipe), self._world.search)
        scores = tuple(_score(float(m)) for role in SEARCH_SAMPLES for m in found[role])
        ids = tuple(sample.id for sample in self.suite.samples)
        return Evaluation(self.suite.digest, recipe.digest, ids, scores)

    def held_out(self, recipe: Recipe) -> tuple[float, float]:
        """See `Testbed`."""
        found = self._world.margins(_vector(recipe), self._world.held_out)
        return float(np.mean(found["TR"] > 0)), float(np.mean(found["TP"] > 0))

    def prior(self, source: Source) -> Prior:
        """The gradient is the true one plus noise; the scan tries every layer alone."""
        if source == "scan":
            changes = [self._change(_one(layer, 1.0)) for layer in range(LAYERS)]
            return Prior("scan", *zip(*changes, strict=True), bill=float(LAYERS))
        rng = np.random.default_rng([self.seed, 1])
        slopes = np.array([self._change(_one(layer, STEP)) for layer in range(LAYERS)]) / STEP
        tr, tp = (_blurred(column, rng) for column in slopes.T)
        return Prior("gradient", tr, tp, GRADIENT_BILL)

    def _change(self, coefficients: Vector) -> tuple[float, float]:
        """Of the mean probability of TR and of TP, from the VLM."""
        there, here = (
            self._world.margins(a, self._world.search) for a in (coefficients, np.zeros(LAYERS))
        )
        tr, tp = (np.mean(_chance(there[r]) - _chance(here[r])) for r in SEARCH_SAMPLES)
        return float(tr), float(tp)

    @cached_property
    def _world(self) -> "_World":
        return _world(LAWS[self.name], np.random.default_rng(self.seed))


def held_out_gain(testbed: Surrogate, recipe: Recipe) -> float:
    """The objective in held-out accuracy."""
    means, before = testbed.held_out(recipe), testbed.held_out(base(testbed.n_layers))
    score = PenalisedGain("accuracy", PENALTY)
    return score(*({"TR": tr, "TP": tp} for tr, tp in (means, before)))


@dataclass(frozen=True)
class _World:
    law: Law
    weights: Vector
    drift: Vector
    harm: Mapping[str, Vector]
    pairs: Mapping[str, Vector]
    search: Mapping[str, Questions]
    held_out: Mapping[str, Questions]

    def margins(self, a: Vector, questions: Mapping[str, Questions]) -> dict[str, Vector]:
        """By role, of every question under the coefficients `a`, (LAYERS,)."""
        strength = 0.3 * a + 0.7 * (3 * a**2 - 2 * a**3)
        benefit = self.law.gain * self.law.benefit(self.weights, strength) + self.drift @ a
        benefits = {"TR": benefit, "TP": 0.0}
        return {
            role: q.start
            + q.gain * benefits[role]
            - q.harm * (self.harm[role] @ a**2)
            + a @ self.pairs[role] @ a
            + q.taste @ a
            for role, q in questions.items()
        }


def _world(law: Law, rng: np.random.Generator) -> _World:
    useful, harmful, weak = np.split(rng.permutation(LAYERS), [USEFUL, USEFUL + 10])
    weights, drift = np.zeros(LAYERS), rng.normal(0, 0.02, LAYERS)
    weights[useful] = rng.uniform(0.5, 1.5, USEFUL)
    drift[useful] = 0.0
    harm = {role: np.zeros(LAYERS) for role in SEARCH_SAMPLES}
    for role, (low, high) in {"TR": (0.02, 0.12), "TP": (0.03, 0.14)}.items():
        harm[role][harmful] = law.harm * rng.uniform(low, high, len(harmful))
        harm[role][weak] = rng.uniform(0.0, 0.008, len(weak))
    spread = law.interaction / LAYERS**0.5
    pairs = {r: np.triu(rng.normal(0, spread, (LAYERS, LAYERS)), 1) for r in SEARCH_SAMPLES}
    search, held_out = (
        {role: _questions(n[role], start, rng) for role, start in {"TR": 0.15, "TP": 0.7}.items()}
        for n in (SEARCH_SAMPLES, HELD_OUT_SAMPLES)
    )
    return _World(law, weights / weights.sum(), drift, harm, pairs, search, held_out)


def _questions(n: int, start: float, rng: np.random.Generator) -> Questions:
    return Questions(
        rng.normal(start, 1.0, n),
        rng.gamma(2.0, 0.5, n),
        rng.gamma(2.0, 0.5, n),
        rng.normal(0.0, 0.06, (n, LAYERS)),
    )


def _samples() -> list[Sample]:
    return [
        Sample(f"{role}{i:03d}", (), "?", ("yes", "no"), 0, (("kind", role),), f"{role}{i:03d}")
        for role, n in SEARCH_SAMPLES.items()
        for i in range(n)
    ]


def _score(margin: float) -> Score:
    is_right = margin > 0.0
    log_probability = -float(np.logaddexp(0.0, -2.0 * margin))
    return Score(float(is_right), "A" if is_right else "B", log_probability, margin=2.0 * margin)


def _vector(recipe: Recipe) -> Vector:
    a = np.zeros(LAYERS)
    for layer, coefficient in recipe.coefficients().items():
        a[layer] = coefficient
    return a


def _one(layer: int, coefficient: float) -> Vector:
    a = np.zeros(LAYERS)
    a[layer] = coefficient
    return a


def _chance(margins: Vector) -> Vector:
    return 1.0 / (1.0 + np.exp(-2.0 * margins))


def _blurred(slopes: Vector, rng: np.random.Generator) -> tuple[float, ...]:
    noise = rng.normal(0.0, slopes.std(), len(slopes))
    centred = slopes - slopes.mean()
    blurred = slopes.mean() + TRUST * centred + (1 - TRUST**2) ** 0.5 * noise
    return tuple(float(slope) for slope in blurred)
