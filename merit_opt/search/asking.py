"""Which trial a worker runs next: decided by one worker of a study at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from merit_opt.search.budget import Budget
from merit_opt.search.controls import (
    controls_of,
    enqueue_controls,
    is_random_layer,
    random_layer_controls,
)
from merit_opt.search.crew import Crew
from merit_opt.search.leases import Lease, Reaper, reap, sign_of
from merit_opt.search.samplers import enqueue
from merit_opt.search.spaces import SearchSpace
from merit_opt.search.trial import COUNTED, best

T = TypeVar("T")


class Answer(Enum):
    """What a worker is told that gets no trial."""

    WAIT = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a study stands.

    Attributes:
        finished: Trials that count towards the budget.
        running: Trials that workers have.
        waiting: Trials that are queued.
    """

    finished: int
    running: tuple[FrozenTrial, ...]
    waiting: tuple[FrozenTrial, ...]

    @property
    def taken(self) -> int:
        """Places of the budget that are filled, or will be unless trials fail."""
        return self.finished + len(self.running)


class Desk:
    """Where one worker of a study asks for its trials.

    A trial is given out only while finished and running ones are fewer than wanted, so that a study
    ends with exactly its number whatever the number of its workers.
    """

    def __init__(self, study: Study, space: SearchSpace, budget: Budget, lease: Lease) -> None:
        self._study = study
        self._space = space
        self._budget = budget
        self._lease = lease
        self._controls = controls_of(budget, space)
        self._reaper = Reaper(lease.storage)
        self._crew = Crew(study, lease)

    def open(self) -> None:
        """Queue the controls that nobody queued yet, and be at work."""

        def begin() -> None:
            enqueue_controls(self._study, self._controls, self._space)
            self._crew.join()

        self._in_turn(begin)

    def next(self, *, is_late: bool) -> Trial | Answer:
        """A trial to run, or whether to ask again later.

        Late, no trial is given out any more, and it is over when nobody else is at work.
        """
        return self._in_turn(lambda: self._decide(is_late=is_late))

    def trial_id(self, number: int) -> int:
        """The storage's own number of a trial."""
        storage = self._lease.storage
        study_id = storage.get_study_id_from_name(self._study.study_name)
        return storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _in_turn(self, decide: Callable[[], T]) -> T:
        return self._lease.storage.in_turn(self._study.study_name, decide)

    def _decide(self, *, is_late: bool) -> Trial | Answer:
        reap(self._study, self._reaper, self._budget.retries)
        found = _standing(self._study)
        if found.finished >= self._budget.trials:
            self._crew.leave()
            return Answer.OVER
        if own := [t for t in found.running if _is_of(t, self._lease)]:
            # The storage was away when it was asked for.
            return _sampled(Trial(self._study, self.trial_id(own[0].number)))
        if is_late:
            self._crew.leave()
            is_busy = found.running or self._crew.is_at_work
            return Answer.WAIT if is_busy else Answer.OVER
        if found.taken >= self._budget.trials:
            return Answer.WAIT
        if not found.waiting and not self._queue_more(found):
            return Answer.WAIT
        return self._ask()

    def _queue_more(self, found: _Standing) -> bool:
        """Queue a proposal, or the random-layer controls once the winner is settled.

        Returns:
            Whether there is now something to ask for.
        """
        proposals = self._budget.trials - self._reserved
        if found.taken >= proposals:
            if not all(map(is_random_layer, found.running)):
                return False
            self._queue_random_layers(self._budget.trials - found.finished)
        if not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            enqueue(self._study, {}, None)
        return True

    @property
    def _reserved(self) -> int:
        """Places of the budget that random-layer controls take; one is left to the search."""
        room = self._budget.trials - len(self._controls) - 1
        return max(0, min(self._budget.random_layers, room))

    def _queue_random_layers(self, left: int) -> None:
        if self._reserved and (winner := best(self._study)) is not None:
            budget = self._budget
            draws = random_layer_controls(winner.recipe, budget.random_layers, budget.seed)
            enqueue_controls(self._study, draws[:left], self._space)

    def _ask(self) -> Trial:
        """The first in the queue, which is the one that Optuna gives."""
        first, *_ = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        self._lease.take(self.trial_id(first.number))
        return _sampled(self._study.ask())


def _sampled(trial: Trial) -> Trial:
    """With its parameters drawn now, before another worker asks; Optuna would draw them later."""
    _ = trial.relative_params
    return trial


def finished(study: Study) -> int:
    """Trials that count towards the budget."""
    return len(study.get_trials(deepcopy=False, states=COUNTED))


def _standing(study: Study) -> _Standing:
    trials = study.get_trials(deepcopy=False)

    def of(*states: TrialState) -> tuple[FrozenTrial, ...]:
        return tuple(t for t in trials if t.state in states)

    return _Standing(len(of(*COUNTED)), of(TrialState.RUNNING), of(TrialState.WAITING))


def _is_of(trial: FrozenTrial, lease: Lease) -> bool:
    sign = sign_of(trial)
    return sign is not None and sign["id"] == lease.id
