"""Samplers, made afresh for every proposal so that a killed study goes on as if it had not been.

A proposal's index counts the trials before it, repeats of dead ones left out: the seed of a
proposal therefore depends on nothing that a kill or a resume changes.
"""

import copy
import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from merit_opt.errors import UserError
from merit_opt.search.spaces import SearchSpace

CONTROL = "control"
RETRY_OF = "retry_of"
PROPOSAL = "proposal"


@dataclass(frozen=True, slots=True)
class SeededSampler:
    """A sampler to be made anew from a seed, for a space.

    Attributes:
        build: Makes it.
        learns: Whether its proposals depend on the values of earlier trials.
    """

    build: Callable[[int, SearchSpace], BaseSampler]
    learns: bool


def tpe(*, n_startup_trials: int) -> SeededSampler:
    """Multivariate TPE, random until `n_startup_trials` trials are finished.

    Raises:
        UserError: `n_startup_trials` is negative.
    """
    if n_startup_trials < 0:
        raise UserError(f"sampler.n_startup_trials must be 0 or more, got {n_startup_trials}")
    return SeededSampler(
        lambda seed, _: TPESampler(seed=seed, n_startup_trials=n_startup_trials), learns=True
    )


def cmaes(*, sigma0: float | None) -> SeededSampler:
    """CMA-ES with margin for the integer masks (the paper's optimiser; settings ours).

    Args:
        sigma0: Initial step size in the unit cube, above 0; None takes Optuna's, a sixth of the
            range.

    Raises:
        UserError: `sigma0` is not above 0.
    """
    if sigma0 is not None and not sigma0 > 0:
        raise UserError(f"sampler.sigma0 must be above 0 or null, got {sigma0}")

    def build(seed: int, _: SearchSpace) -> BaseSampler:
        with warnings.catch_warnings():  # the margin is experimental, sigma0 goes in Optuna 6
            warnings.simplefilter("ignore")
            return _CmaEsByProposal(seed=seed, sigma0=sigma0, with_margin=True)

    return SeededSampler(build, learns=True)


def random() -> SeededSampler:
    """Independent uniform draws."""
    return SeededSampler(lambda seed, _: RandomSampler(seed=seed), learns=False)


def proposal_index(study: Study, trial: FrozenTrial) -> int:
    """How many proposals and controls came before `trial`, repeats of dead trials left out."""
    if PROPOSAL in trial.user_attrs:
        return int(trial.user_attrs[PROPOSAL])
    others = study.get_trials(deepcopy=False)
    return trial.number - sum(
        RETRY_OF in other.user_attrs for other in others if other.number < trial.number
    )


class PerProposal(BaseSampler):
    """Gives every proposal its own freshly seeded sampler over one declared space.

    Declaring the space keeps controls without parameters from emptying the joint space that
    samplers infer from finished trials; controls themselves take no part in sampling.
    """

    def __init__(self, sampler: SeededSampler, *, seed: int, space: SearchSpace) -> None:
        self._build = sampler.build
        self._seed = seed
        self._space = space
        self._inner: BaseSampler = RandomSampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler of this proposal."""
        index = proposal_index(study, trial)
        self._inner = self._build(_derived_seed(self._seed, index), self._space)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The declared space, or nothing for a control."""
        return {} if CONTROL in trial.user_attrs else self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the inner sampler does."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the inner sampler does."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As the inner sampler does."""
        self._inner.after_trial(study, trial, state, values)


class _CmaEsByProposal(CmaEsSampler):
    """Optuna adds the trial's number to CMA-ES's seed; the proposal's index survives a resume."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        renumbered = copy.copy(trial)
        renumbered.number = proposal_index(study, trial)
        return super().sample_relative(study, renumbered, search_space)


def _derived_seed(seed: int, index: int) -> int:
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
