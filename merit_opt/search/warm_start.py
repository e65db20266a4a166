"""`sampler.warm_start=`: a study's first recipes, from what is known of layers before the search.

A prior is made once a study and kept with it, and so are the recipes it puts first: they are trials
of the study, under names of their own, and a study resumed or joined has the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.evaluation import Curtailed, paired_means
from merit_opt.evaluation.screen import Screen
from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.search.controls import control_recipe, is_control, is_random_layer
from merit_opt.search.interrupts import interrupts_allowed
from merit_opt.search.priors import (
    PRICE,
    PRIOR,
    SCANNED,
    SEED,
    Prior,
    prior_of_scan,
    prior_of_screen,
)
from merit_opt.search.samplers import CONTROL, FIXED, enqueue
from merit_opt.search.spaces import Params, SearchSpace, Switch, all_on, switched_on, turned_on
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.trial import COUNTED, Bench, told_records

WarmStart = Literal["none", "gradient", "scan"]

DEPTHS = (2, 4, 6, 8, 11)  # how many switches of 28 the seeds turn on; rounded up; ours
OF = 28
TP_TOLERANCE = 0.1  # how much of its TR gain a layer may lose of TP to be in a seed; ours
LEAST_SHARE = 0.1  # of the most promising layer's gain; below, a seed leaves a layer alone; ours


@dataclass(frozen=True, slots=True)
class Seed:
    """A recipe to be tried early.

    Attributes:
        name: Shown wherever the trial is.
        params: Its parameters in the space.
        recipe: What they make.
    """

    name: str
    params: Params
    recipe: Recipe


def as_warm_start(value: str) -> WarmStart:
    """The option of that name.

    Raises:
        UserError: There is none.
    """
    for known in get_args(WarmStart):
        if value == known:
            return known
    raise UserError(
        f"sampler.warm_start is one of {', '.join(get_args(WarmStart))}; got {value!r}"
    )


def seeds(prior: Prior, space: SearchSpace, penalty: float) -> list[Seed]:
    """The most promising layers merged as far as the space goes, for several numbers of them.

    Only layers that promise a gain, at least `LEAST_SHARE` of the greatest one, and lose at most
    `TP_TOLERANCE` of their TR gain in TP. A layer means a switch of the space, where it has fewer.

    Args:
        prior: What layers promise.
        space: Where recipes come from.
        penalty: Price of TP in TR.
    """
    safe = _safe(prior, space.switches, penalty)
    depths = (-(-len(space.switches) * depth // OF) for depth in DEPTHS)
    counts = dict.fromkeys(min(depth, len(safe)) for depth in depths)
    made = [
        (count, seed_of(f"{prior.source}:{count}", space, safe[:count]))
        for count in counts
        if count > 0
    ]
    # A space that limits how many layers are merged has some of them only in part.
    return [seed for count, seed in made if seed and switched_on(space, seed.recipe) == count]


def scans(space: SearchSpace) -> Iterator[tuple[Switch, Seed]]:
    """Of each switch, the recipe that turns it alone on."""
    for switch in space.switches:
        name = SCANNED + "-".join(map(str, dict.fromkeys((switch.layers[0], switch.layers[-1]))))
        if (seed := seed_of(name, space, [switch])) is not None:
            yield switch, seed


def seed_of(name: str, space: SearchSpace, on: Sequence[Switch]) -> Seed | None:
    """These switches on and all others off; None where the space has no such recipe."""
    recipe = turned_on(space, on)
    params = space.params(recipe)
    return None if params is None else Seed(name, params, recipe)


def merged_parts(greatest: Recipe) -> list[Part]:
    """Every part that some layer merges."""
    return [p for p in PARTS if any(layer.rule(p) is not None for layer in greatest.layers)]


@dataclass(frozen=True, slots=True)
class Room:
    """How many trials there may be.

    Attributes:
        trials: Wanted in all.
        reserved: Of them, for controls that come at the end.
    """

    trials: int
    reserved: int

    def left(self, study: Study) -> int:
        """How many more may be queued."""
        others = study.get_trials(deepcopy=False)
        known = [trial for trial in others if trial.state != TrialState.FAIL]
        drawn = sum(is_random_layer(trial) for trial in known)
        return max(0, self.trials - len(known) - max(0, self.reserved - drawn))


@dataclass
class WarmStarter:
    """Makes the prior and queues what follows from it; to be called again after every trial.

    Every call does what can be done by now, and what was done before, by whichever worker, is
    not done again.

    Attributes:
        source: Where the prior comes from.
        study: Whose trials; the fixed controls are queued before the first call.
        bench: What recipes are measured on.
        room: For trials.
        storage: Gives turns to workers.
        screen: Differentiates the unmerged VLM with respect to these parts.
    """

    source: WarmStart
    study: Study
    bench: Bench
    room: Room
    storage: PatientStorage
    screen: Callable[[Sequence[Part]], Screen]
    _is_done: bool = field(default=False, init=False)

    def __call__(self) -> None:
        """Go on with it.

        Raises:
            UserError: The screen failed, or there is no room for the scan's trials.
        """
        if self._is_done or self.source == "none":
            self._is_done = True
            return
        prior = kept_prior(self.study) or self._made()
        if prior is None:
            return
        found = seeds(prior, self.bench.space, self.bench.yardstick.objective.price)
        self._in_turn(lambda: self._queue(found))
        self._is_done = True

    def _in_turn(self, decide: Callable[[], None]) -> None:
        self.storage.in_turn(self.study.study_name, decide)

    def _made(self) -> Prior | None:
        return self._screened() if self.source == "gradient" else self._scanned()

    def _screened(self) -> Prior:
        """Of this worker, or of the one that was at it while this one waited."""
        greatest = all_on(self.bench.space)
        with self.storage.turn(f"prior/{self.study.study_name}"):
            if (known := kept_prior(self.study)) is not None:
                return known
            try:
                with interrupts_allowed():
                    found = self.screen(merged_parts(greatest))
            except TrialFailed as error:
                raise UserError(
                    f"the first-order screen failed: {error}; give sampler.warm_start=scan, which "
                    "needs no gradients, or none"
                ) from error
            return self._keep(prior_of_screen(found, greatest))

    def _scanned(self) -> Prior | None:
        """Once every trial of the scan is over."""
        space, scan = self.bench.space, list(scans(self.bench.space))
        self._in_turn(lambda: self._queue_scan([seed for _, seed in scan]))
        known = _states(self.study, space)
        if any(_is_to_come(known.get(seed.recipe.digest, [])) for _, seed in scan):
            return None
        changes = [(switch.layers, self._change(seed)) for switch, seed in scan]
        return self._keep(prior_of_scan(space.n_layers, changes))

    def _queue_scan(self, scan: Sequence[Seed]) -> None:
        """All of it or nothing.

        Raises:
            UserError: There is no room.
        """
        new = self._new(scan)
        if len(new) > self.room.left(self.study):
            raise UserError(
                f"sampler.warm_start=scan takes {len(new)} trials beside the controls, and "
                f"study.trials={self.room.trials} leaves room for {self.room.left(self.study)}; "
                "give more study.trials, or sampler.warm_start=gradient"
            )
        self._add(new)

    def _change(self, seed: Seed) -> tuple[float, float]:
        """Of TR and of TP, in what the search optimises; none where it cannot be measured."""
        yardstick = self.bench.yardstick
        try:
            found = self.bench.measure(seed.recipe, None)
        except TrialFailed:
            return 0.0, 0.0
        if isinstance(found, Curtailed):
            raise TypeError(f"{seed.name} was stopped, and a scan is measured in full")
        own, base = paired_means(found, yardstick.base, yardstick.suite, yardstick.objective.score)
        return own["TR"] - base["TR"], own["TP"] - base["TP"]

    def _keep(self, prior: Prior) -> Prior:
        self.study.set_user_attr(PRICE, self.bench.yardstick.objective.price)
        self.study.set_user_attr(PRIOR, prior.to_dict())
        return prior

    def _queue(self, found: Sequence[Seed]) -> None:
        self._add(self._new(found)[: self.room.left(self.study)])

    def _new(self, found: Sequence[Seed]) -> list[Seed]:
        """Those whose recipe no trial has, each once."""
        known = _states(self.study, self.bench.space)
        trials = self.study.get_trials(deepcopy=False)
        names = {trial.user_attrs.get(SEED) for trial in trials}
        by_digest = {seed.recipe.digest: seed for seed in reversed(found)}
        return [
            seed
            for seed in found
            if by_digest[seed.recipe.digest] is seed
            and seed.recipe.digest not in known
            and seed.name not in names
        ]

    def _add(self, new: Sequence[Seed]) -> None:
        for seed in new:
            enqueue(self.study, {SEED: seed.name}, seed.params)


def kept_prior(study: Study) -> Prior | None:
    """The study's, if it has been made."""
    kept = study.user_attrs.get(PRIOR)
    return None if kept is None else Prior.from_dict(kept)


def _safe(prior: Prior, switches: Sequence[Switch], penalty: float) -> list[Switch]:
    """Those that may be in a seed, the most promising first."""
    promised: list[tuple[float, Switch]] = []
    for switch in switches:
        reasoning, perception = prior.of(switch.layers)
        loss = max(0.0, -perception)
        if loss <= TP_TOLERANCE * reasoning:
            promised.append((reasoning - penalty * loss, switch))
    least = LEAST_SHARE * max((gain for gain, _ in promised), default=0.0)
    chosen = [(gain, switch) for gain, switch in promised if gain > 0 and gain >= least]
    return [switch for _, switch in sorted(chosen, key=lambda pair: -pair[0])]


def _states(study: Study, space: SearchSpace) -> dict[str, list[TrialState]]:
    """Recipe's digest -> states of its trials, those that are still to be measured too."""
    found: dict[str, list[TrialState]] = {}
    trials = study.get_trials(deepcopy=False)
    told = told_records(study)
    for trial in trials:
        record = told.get(trial.number)
        recipe = _unmeasured(trial, space) if record is None else record.recipe
        if recipe is not None:
            found.setdefault(recipe.digest, []).append(trial.state)
    return found


def _unmeasured(trial: FrozenTrial, space: SearchSpace) -> Recipe | None:
    """None of one that has not been asked, and of one whose worker died before it was measured."""
    if trial.state.is_finished():
        return None
    if is_control(trial):
        return control_recipe(trial.user_attrs[CONTROL])[1]
    params = trial.params | trial.system_attrs.get(FIXED, {})
    return (
        space.suggest(FixedTrial(params)) if params.keys() == space.distributions.keys() else None
    )


def _is_to_come(states: Sequence[TrialState]) -> bool:
    """Whether none has been measured, and one may still be."""
    is_measured = any(s in COUNTED for s in states)
    return not is_measured and any(not s.is_finished() for s in states)
