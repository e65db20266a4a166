"""Finished trials of a study, each read once: a finished trial never changes."""

import weakref
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

T = TypeVar("T")


class Told(Generic[T]):
    """What `read` makes of every finished trial, remembered as long as the study object lives."""

    def __init__(self, read: Callable[[FrozenTrial], T]) -> None:
        self._read = read
        self._known: weakref.WeakKeyDictionary[Study, dict[int, T]] = weakref.WeakKeyDictionary()

    def __call__(self, study: Study) -> Iterator[tuple[FrozenTrial, T]]:
        """Each finished trial with what was read of it, in the order of their numbers."""
        known = self._known.setdefault(study, {})
        for trial in study.get_trials(deepcopy=False, states=FINISHED):
            if trial.number not in known:
                known[trial.number] = self._read(trial)
            yield trial, known[trial.number]
