"""A storage that waits while its database is away, and does nothing twice when it is back."""

import copy
import random
import threading
import time
import uuid
from collections.abc import Callable, Container, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from merit_opt.search.interrupts import interrupts_allowed
from merit_opt.search.storage.faults import FAULTS, StorageAway, StorageFailed, may_pass, reason
from merit_opt.search.storage.turns import Turns

TOKEN = "asked as"
FIRST_PAUSE, LAST_PAUSE = 0.1, 10.0
SILENT_SECONDS = 3.0

T = TypeVar("T")


class TurnLost(Exception):
    """The storage was away while a worker decided for all; it must look and decide again."""


class PatientStorage(BaseStorage):
    """Passes every call on; repeats it with back-off while what is wrong may pass.

    A write whose acknowledgement was lost is recognised when it is repeated: a new trial by a token
    of its own, an ended one by what it was ended with; all else may be written twice.

    Attributes:
        name: Where it is, as people are told it; without passwords.
        patience: Seconds that it waits for its database.
        grace: Seconds after which a heartbeat that stands still means a dead worker.
        warn: Told when the database is away for long, and when it is back.
        outages: How often it was away.
        close: Gives its connections up.
    """

    def __init__(
        self, inner: BaseStorage, turns: Turns, *, name: str, patience: float, grace: float
    ) -> None:
        self.name = name
        self.patience = patience
        self.grace = grace
        self.warn: Callable[[str], None] = lambda _: None
        self.outages = 0
        self.close: Callable[[], None] = inner.remove_session
        self._inner = inner
        self._turns = turns
        self._thread = threading.local()

    def in_turn(self, name: str, decide: Callable[[], T]) -> T:
        """What `decide` returns, called while no other worker decides under this name.

        It is called again when the storage was away meanwhile, as another may have had its turn: it
        must make of what it finds what it would make of what it left.
        """
        while True:
            try:
                with self.turn(name):
                    self._thread.decides = True
                    return decide()
            except TurnLost:
                continue
            finally:
                self._thread.decides = False

    @contextmanager
    def turn(self, name: str) -> Generator[None]:
        """Held by one worker of all at a time; Ctrl-C ends the wait for it."""
        turn = self._turns(name)
        try:
            with interrupts_allowed():
                self._patiently(turn.acquire)
            yield
        finally:
            turn.release()

    @contextmanager
    def impatient(self) -> Generator[None]:
        """In this thread, within the block, nothing is waited for."""
        self._thread.hurries = True
        try:
            yield
        finally:
            self._thread.hurries = False

    def _patiently(self, act: Callable[[], T], again: Callable[[], T] | None = None) -> T:
        try:
            return act()
        except FAULTS as error:
            self.outages += 1
            return self._after(error, again or act)

    def _after(self, error: BaseException, again: Callable[[], T]) -> T:
        hurries, decides = (getattr(self._thread, k, False) for k in ("hurries", "decides"))
        wait = _Wait(self, 0.0 if hurries else self.patience)
        while True:
            wait.more(error)
            try:
                if decides:
                    self._inner.get_all_studies()
                    break
                done = again()
            except FAULTS as next_error:
                error = next_error
                continue
            wait.over()
            return done
        wait.over()
        raise TurnLost

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        """As Optuna has it."""
        self._patiently(lambda: self._inner.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna has it."""
        self._patiently(lambda: self._inner.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna has it."""
        self._patiently(lambda: self._inner.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[Any]:
        """As Optuna has it."""
        return self._patiently(self._inner.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As Optuna has it; under a token, by which a repeat finds it."""
        token = uuid.uuid4().hex
        marked = _marked(template_trial, token)

        def again() -> int:
            for trial in reversed(self._inner.get_all_trials(study_id, deepcopy=False)):
                if trial.system_attrs.get(TOKEN) == token:
                    return self._inner.get_trial_id_from_study_id_trial_number(
                        study_id, trial.number
                    )
            return self._inner.create_new_trial(study_id, marked)

        return self._patiently(lambda: self._inner.create_new_trial(study_id, marked), again)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """As Optuna has it."""
        self._patiently(
            lambda: self._inner.set_trial_param(
                trial_id, param_name, param_value_internal, distribution
            )
        )

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """As Optuna has it."""
        return self._patiently(
            lambda: self._inner.get_trial_id_from_study_id_trial_number(study_id, trial_number)
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna has it; what a lost call did already is not refused to its repeat."""

        def act() -> bool:
            return self._inner.set_trial_state_values(trial_id, state, values)

        def again() -> bool:
            try:
                return act()
            except UpdateFinishedTrialError:
                kept = self._inner.get_trial(trial_id)
                if (kept.state, kept.values) == (state, values and list(values)):
                    return True
                raise

        return self._patiently(act, again)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """As Optuna has it."""
        self._patiently(
            lambda: self._inner.set_trial_intermediate_value(trial_id, step, intermediate_value)
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna has it."""
        self._patiently(lambda: self._inner.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna has it."""
        self._patiently(lambda: self._inner.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As Optuna has it."""
        return self._patiently(lambda: self._inner.get_all_trials(study_id, deepcopy, states))

    def remove_session(self) -> None:
        """As Optuna has it."""
        self._inner.remove_session()


class _Wait:
    """Ever longer pauses, as long as the patience lasts."""

    def __init__(self, storage: PatientStorage, patience: float) -> None:
        self._storage = storage
        self._patience = patience
        self._since = time.monotonic()
        self._pause = FIRST_PAUSE
        self._is_said = False

    def more(self, error: BaseException) -> None:
        """Pause, if what is wrong may pass and there is patience left."""
        name, waited = self._storage.name, time.monotonic() - self._since
        if not may_pass(error):
            raise StorageFailed(
                f"the study storage {name} failed: {reason(error)}; every told trial is kept: give "
                "the same command again once it can be written"
            ) from error
        if waited >= self._patience:
            raise StorageAway(
                f"the study storage {name} is away ({reason(error)}), for longer than "
                f"storage.patience={self._patience:g} seconds; every told trial is kept: give the "
                "same command again once it is back"
            ) from error
        if waited >= SILENT_SECONDS and not self._is_said:
            self._is_said = True
            self._storage.warn(
                f"the study storage {name} is away ({reason(error)}); waiting for it for up to "
                f"{self._patience:g} seconds"
            )
        with interrupts_allowed():
            time.sleep(min(self._pause * random.uniform(0.5, 1.0), self._patience - waited))
        self._pause = min(2 * self._pause, LAST_PAUSE)

    def over(self) -> None:
        """Say that it is back, if it was said to be away."""
        if self._is_said:
            waited = time.monotonic() - self._since
            self._storage.warn(f"the study storage is back after {waited:.0f} seconds")


def _marked(template: FrozenTrial | None, token: str) -> FrozenTrial:
    marked = create_trial(state=TrialState.RUNNING) if template is None else copy.copy(template)
    marked.system_attrs = {**marked.system_attrs, TOKEN: token}
    return marked
