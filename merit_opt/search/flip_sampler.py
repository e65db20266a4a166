"""`sampler=flips`: the climbs of `flips`, then a cold CMA-ES, with the study as the only memory."""

import random
import warnings
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from merit_opt.errors import UserError
from merit_opt.search.controls import is_random_layer
from merit_opt.search.flips import LOST, Board, Change, Dial, Proposal, State, Tried, propose
from merit_opt.search.front import Thrift
from merit_opt.search.priors import PRICE, PRIOR, Prior
from merit_opt.search.samplers import (
    CONTROL,
    FIXED,
    CmaEsByProposal,
    SeededSampler,
    derived_seed,
    is_given,
    latest_by_proposal,
    proposal_index,
)
from merit_opt.search.spaces import Params, SearchSpace, Switch, switched_on

PHASE = "phase"  # the trial's attribute that names what proposed it
CHANGE = "flips:change"
STATE = "flips:state"
DRAWS, NEIGHBOURS = 10, 2000  # of the cold search, for a recipe that is new


@dataclass(frozen=True, slots=True)
class FlipSettings:
    """What can be chosen of it.

    Attributes:
        max_pairs: Pairs of switches tried in all, at least 0.
        thrift: What a switch that is on must be worth.

    Raises:
        UserError: A value out of its range.
    """

    max_pairs: int
    thrift: Thrift

    def __post_init__(self) -> None:
        if self.max_pairs < 0:
            raise UserError(f"sampler.max_pairs must be 0 or more, got {self.max_pairs}")


def flips(*, max_pairs: int, least_share: float) -> SeededSampler:
    """A climb by single switches from the best recipe known; see `FlipSettings`.

    Raises:
        UserError: A value out of its range.
    """
    settings = FlipSettings(max_pairs, Thrift(least_share))
    return SeededSampler(lambda seed, space: FlipSampler(seed, space, settings), learns=True)


class FlipSampler(BaseSampler):
    """Proposes what `flips.propose` says; when that has stalled, what a cold CMA-ES says.

    The CMA-ES never hears of the climbs: started from where they stalled it stays there. It moves
    switches between off and on only, one integer each, which its margin is made for: what it is
    there for is finding which of them belong together. Where no such recipe that is new is met, the
    rest is drawn at random.
    """

    def __init__(self, seed: int, space: SearchSpace, settings: FlipSettings) -> None:
        self._seed = seed
        self._space = space
        self._dials = tuple(map(_dial, space.switches))
        self._settings = settings
        self._random = RandomSampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Name the phase of what was enqueued.

        Raises:
            UserError: The study has several objectives.
        """
        if len(study.directions) > 1:
            raise UserError(
                "sampler=flips climbs one objective and this study has several; give "
                "sampler=nsgaii or sampler=tpe, or an objective with one value"
            )
        if is_given(trial):
            _note(study, trial, Proposal((), *_change(trial)))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space."""
        return self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All parameters, or none where they are to be drawn at random."""
        switches = self._space.switches
        history = _history(study, trial, switches)
        proposal = propose(history, self._board(study))
        if proposal is None:
            drawn = self._cold(study, trial, {tried.proposal.state for tried in history})
            proposal = Proposal(() if drawn is None else drawn, Change("cold"), None)
        _note(study, trial, proposal)
        return _params(self._space, proposal.state) if proposal.state else {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A uniform draw."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _board(self, study: Study) -> Board:
        switches, settings = self._space.switches, self._settings
        kept = study.user_attrs.get(PRIOR)
        promise: tuple[float, ...] | None = None
        if kept is not None:
            gains = Prior.from_dict(kept).gains(study.user_attrs[PRICE])
            promise = tuple(sum(gains[layer] for layer in switch.layers) for switch in switches)
        return Board(self._dials, promise, settings.max_pairs, settings.thrift.share, self._fits)

    def _fits(self, state: State) -> bool:
        """Whether the space leaves on all that is on."""
        recipe = self._space.suggest(FixedTrial(_params(self._space, state)))
        on = sum(p != dial.off for p, dial in zip(state, self._dials, strict=True))
        return switched_on(self._space, recipe) == on

    def _cold(self, study: Study, trial: FrozenTrial, seen: set[State]) -> State | None:
        """A new recipe of switches that are off or on, or None when all of them are known."""
        ends = [(dial.off, dial.on) for dial in self._dials]
        known = sum(all(p in end for p, end in zip(s, ends, strict=True)) for s in seen)
        if known >= 2 ** len(ends):
            return None
        names = [f"switch{i}" for i in range(len(ends))]
        coordinates: dict[str, BaseDistribution] = dict.fromkeys(names, IntDistribution(0, 1))
        rng, state = random.Random(self._seed), ()
        for attempt in range(DRAWS):
            cmaes = _cold_cmaes(derived_seed(self._seed, attempt))
            point = cmaes.sample_relative(study, trial, coordinates)
            drawn = tuple(end[point[name]] for name, end in zip(names, ends, strict=True))
            state = self._cut(drawn, rng)
            if state not in seen:
                return state if state == drawn else self._moved(study, trial, state)
        return self._neighbour(study, trial, state, seen)

    def _neighbour(
        self, study: Study, trial: FrozenTrial, drawn: State, seen: set[State]
    ) -> State | None:
        """A new recipe near `drawn`; None where none was met."""
        board = self._board(study)
        rng = random.Random(self._seed)
        for n in islice(cycle(range(1, len(drawn) + 1)), NEIGHBOURS):
            flipped = board.flipped(drawn, rng.sample(range(len(drawn)), n))
            if (state := self._cut(flipped, rng)) not in seen:
                return self._moved(study, trial, state)
        return None

    def _cut(self, state: State, rng: random.Random) -> State:
        """With as many switches on as the space allows, the others turned off by chance."""
        found = list(state)
        on = [s for s, dial in enumerate(self._dials) if state[s] != dial.off]
        rng.shuffle(on)
        while not self._fits(tuple(found)):
            switch = on.pop()
            found[switch] = self._dials[switch].off
        return tuple(found)

    def _moved(self, study: Study, trial: FrozenTrial, state: State) -> State:
        """The recipe, and CMA-ES told that it was drawn."""
        point = [float(p == dial.on) for p, dial in zip(state, self._dials, strict=True)]
        storage, key = _kept_at(study, trial)
        storage.set_trial_system_attr(key, "x_for_tell", point)
        return state


class _ColdCmaEs(CmaEsByProposal):
    """Learns from the trials of its own phase alone."""

    def _get_trials(self, study: Study) -> list[FrozenTrial]:
        return [t for t in super()._get_trials(study) if t.user_attrs.get(PHASE) == "cold"]


def _cold_cmaes(seed: int) -> BaseSampler:
    with warnings.catch_warnings():  # the margin is experimental
        warnings.simplefilter("ignore")
        return _ColdCmaEs(seed=seed, n_startup_trials=0, with_margin=True)


def _dial(switch: Switch) -> Dial:
    def position(params: Params) -> tuple[float, ...]:
        return tuple(float(params[name]) for name in switch.off)

    milder = tuple(position(params) for params in switch.milder)
    return Dial(position(switch.off), position(switch.on), milder)


def _history(study: Study, trial: FrozenTrial, switches: tuple[Switch, ...]) -> list[Tried]:
    """All that is inside the space, what is enqueued and what others ask included."""
    own = proposal_index(study, trial)
    found: list[Tried] = []
    for index, other in latest_by_proposal(study).items():
        state = _state(other, switches)
        if index != own and state is not None:
            change, start = _change(other)
            found.append(Tried(index, Proposal(state, change, start), _value(other)))
    return found


def _state(trial: FrozenTrial, switches: tuple[Switch, ...]) -> State | None:
    if STATE in trial.system_attrs:
        return tuple(tuple(position) for position in trial.system_attrs[STATE])
    params: Params = trial.system_attrs.get(FIXED, trial.params)
    names = [name for switch in switches for name in switch.off]
    if not params.keys() >= set(names):
        return None
    return tuple(tuple(float(params[name]) for name in switch.off) for switch in switches)


def _change(trial: FrozenTrial) -> tuple[Change, int | None]:
    if CHANGE in trial.system_attrs:
        phase, moved, step, start = trial.system_attrs[CHANGE]
        return Change(phase, tuple(moved), step), start
    return Change("control" if CONTROL in trial.user_attrs else "seed"), None


def _value(trial: FrozenTrial) -> float | None:
    """What misses a constraint is lost, and controls drawn from the winner lead nowhere."""
    if not trial.state.is_finished():
        return None
    is_drawn = is_random_layer(trial)
    keeps = all(by <= 0.0 for by in trial.constraints.values())
    is_told = trial.state == TrialState.COMPLETE and keeps and not is_drawn
    return trial.value if is_told and trial.value is not None else LOST


def _params(space: SearchSpace, state: State) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for switch, position in zip(space.switches, state, strict=True):
        for name, value in zip(switch.off, position, strict=True):
            found[name] = space.distributions[name].to_external_repr(value)
    return found


def _note(study: Study, trial: FrozenTrial, proposal: Proposal) -> None:
    """Keep in the trial what proposed it, so that the next proposal can be worked out from it."""
    change = proposal.change
    storage, key = _kept_at(study, trial)
    storage.set_trial_user_attr(key, PHASE, change.phase)
    if proposal.state:
        kept = [change.phase, list(change.switches), change.step, proposal.start]
        storage.set_trial_system_attr(key, CHANGE, kept)
        storage.set_trial_system_attr(key, STATE, [list(p) for p in proposal.state])


def _kept_at(study: Study, trial: FrozenTrial) -> tuple[BaseStorage, int]:
    """Where samplers write: they are given a copy of the trial."""
    return study._storage, trial._trial_id  # pyright: ignore[reportPrivateUsage]
