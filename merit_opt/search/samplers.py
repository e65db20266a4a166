"""Samplers, made afresh for every proposal so that a killed study goes on as if it had not been.

A proposal's index counts the trials before it, repeats of dead ones left out: the seed of a
proposal therefore depends on nothing that a kill or a resume changes.
"""

import copy
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from merit_opt.errors import UserError
from merit_opt.search.cma_state import restored
from merit_opt.search.spaces import SearchSpace

CONTROL = "control"
RETRY_OF = "retry_of"
PROPOSAL = "proposal"
SUGGESTED = "suggested"  # all parameters of a proposal are drawn and kept
UNTOLD = (TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
STOPPED = "stopped"  # why a trial ended that nobody told
FIXED = "fixed_params"  # where Optuna keeps the parameters of what was enqueued


@dataclass(frozen=True, slots=True)
class SeededSampler:
    """A sampler to be made anew from a seed, for a space.

    Attributes:
        build: Makes it.
        learns: Whether its proposals depend on the values of earlier trials.
        is_one_sequence: Whether all proposals are made from the study's seed, by their place in
            one sequence, and not each from a seed of its own.
    """

    build: Callable[[int, SearchSpace], BaseSampler]
    learns: bool
    is_one_sequence: bool = False


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
            return CmaEsByProposal(seed=seed, sigma0=sigma0, with_margin=True)

    return SeededSampler(build, learns=True)


def random() -> SeededSampler:
    """Independent uniform draws."""
    return SeededSampler(lambda seed, _: RandomSampler(seed=seed), learns=False)


def gp(*, n_startup_trials: int) -> SeededSampler:
    """A Gaussian process with expected improvement, random until enough trials are finished.

    Raises:
        UserError: `n_startup_trials` is below 1.
    """
    if n_startup_trials < 1:
        raise UserError(f"sampler.n_startup_trials must be 1 or more, got {n_startup_trials}")
    return SeededSampler(
        lambda seed, _: _GPInSpace(seed=seed, n_startup_trials=n_startup_trials), learns=True
    )


def nsgaii(*, population_size: int) -> SeededSampler:
    """NSGA-II: generations that approach the Pareto front of several objectives.

    Raises:
        UserError: `population_size` is below 2.
    """
    if population_size < 2:
        raise UserError(f"sampler.population_size must be 2 or more, got {population_size}")
    return SeededSampler(
        lambda seed, _: NSGAIISampler(seed=seed, population_size=population_size), learns=True
    )


def qmc(*, scramble: bool) -> SeededSampler:
    """Points of a Sobol sequence: spread more evenly than random draws.

    Args:
        scramble: Shift the points at random; without it the seed changes nothing.
    """

    def build(seed: int, _: SearchSpace) -> BaseSampler:
        with warnings.catch_warnings():  # experimental since Optuna 3
            warnings.simplefilter("ignore")
            return _QMCByProposal(seed=seed, scramble=scramble, warn_independent_sampling=False)

    return SeededSampler(build, learns=False, is_one_sequence=True)


def proposal_index(study: Study, trial: FrozenTrial) -> int:
    """How many proposals and controls came before `trial`, repeats of dead trials left out."""
    if PROPOSAL in trial.user_attrs:
        return int(trial.user_attrs[PROPOSAL])
    others = study.get_trials(deepcopy=False)
    return trial.number - sum(
        RETRY_OF in other.user_attrs for other in others if other.number < trial.number
    )


def latest_by_proposal(study: Study) -> dict[int, FrozenTrial]:
    """Index of every proposal and control -> the last trial that is, or repeats, it.

    A told trial is not overruled by a repeat that was withdrawn.
    """
    found: dict[int, FrozenTrial] = {}
    for index, trial in _by_proposal(study):
        if index not in found or found[index].state in UNTOLD:
            found[index] = trial
    return found


def _by_proposal(study: Study) -> Iterator[tuple[int, FrozenTrial]]:
    repeats = 0
    for trial in study.get_trials(deepcopy=False):
        yield int(trial.user_attrs.get(PROPOSAL, trial.number - repeats)), trial
        repeats += RETRY_OF in trial.user_attrs


def is_given(trial: FrozenTrial) -> bool:
    """Whether its recipe was fixed when it was enqueued: nothing is left for a sampler to do.

    A repeat is, too, although a sampler may have proposed what it repeats.
    """
    return CONTROL in trial.user_attrs or FIXED in trial.system_attrs


def enqueue(
    study: Study, attrs: Mapping[str, Any], params: Mapping[str, int | float] | None
) -> None:
    """Queue a trial under these user attributes, at these parameters if any are given."""
    fixed = {} if params is None else {FIXED: dict(params)}
    study.add_trial(
        create_trial(state=TrialState.WAITING, user_attrs=dict(attrs), system_attrs=fixed)
    )


def derived_seed(seed: int, index: int) -> int:
    """Another seed for every index."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


class PerProposal(BaseSampler):
    """Gives every proposal its own freshly seeded sampler over one declared space.

    Declaring the space keeps controls without parameters from emptying the joint space that
    samplers infer from finished trials; what was enqueued itself takes no part in sampling.
    """

    def __init__(self, sampler: SeededSampler, *, seed: int, space: SearchSpace) -> None:
        self._sampler = sampler
        self._seed = seed
        self._space = space
        self._inner: BaseSampler = RandomSampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler of this proposal."""
        own = derived_seed(self._seed, proposal_index(study, trial))
        seed = self._seed if self._sampler.is_one_sequence else own
        self._inner = self._sampler.build(seed, self._space)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The declared space, or nothing for what was enqueued."""
        return {} if is_given(trial) else self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the inner sampler does; it is not asked where there is nothing to sample."""
        return self._inner.sample_relative(study, trial, search_space) if search_space else {}

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


class CmaEsByProposal(CmaEsSampler):
    """Optuna adds the trial's number to CMA-ES's seed; the proposal's index survives a resume.

    It would also unpickle whatever the storage holds; see `cma_state`.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna does."""
        renumbered = copy.copy(trial)
        renumbered.number = proposal_index(study, trial)
        return super().sample_relative(study, renumbered, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            kept = {
                key: text
                for key, text in trial.system_attrs.items()
                if key.startswith(self._attr_key_optimizer)
            }
            if kept:
                return restored(self._concat_optimizer_attrs(kept))
        return None


class _GPInSpace(GPSampler):
    """Optuna looks every parameter up in every finished trial; a control may have none."""

    def _sample_relative_impl(
        self,
        study: Study,
        completed_trials: list[FrozenTrial],
        running_trials: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        inside = [t for t in completed_trials if search_space.keys() <= t.params.keys()]
        return super()._sample_relative_impl(study, inside, running_trials, search_space)


class _QMCByProposal(QMCSampler):
    """Optuna counts the points it gave in the study; a proposal's place survives a kill."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna does."""
        self._place = _place(study, trial)
        return super().sample_relative(study, trial, search_space)

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._place


def _place(study: Study, trial: FrozenTrial) -> int:
    """How many proposals that were not enqueued came before, those that were repeated once."""
    index = proposal_index(study, trial)
    first: dict[int, FrozenTrial] = {}
    for i, other in _by_proposal(study):
        first.setdefault(i, other)
    return sum(i < index and not is_given(t) for i, t in first.items())
