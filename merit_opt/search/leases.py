"""Who runs a trial, and what becomes of it when its worker has stopped."""

import time
import uuid
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from merit_opt.search.heartbeat import Heartbeat
from merit_opt.search.processes import Process, this_process
from merit_opt.search.samplers import FIXED, PROPOSAL, RETRY_OF, STOPPED, SUGGESTED, proposal_index
from merit_opt.search.storage.faults import StorageAway, StorageFailed
from merit_opt.search.storage.patient import TOKEN, PatientStorage
from merit_opt.search.trial import RECORD

LEASE = "lease"
DEATHS = "deaths"  # how many workers of this proposal stopped before
BEATS_PER_GRACE = 8
TOLD = "withdrawn: the trial that it repeats was told after all"
NOT_REPEATED = (LEASE, RECORD, STOPPED, SUGGESTED)

K = TypeVar("K", bound=Hashable)
Sign = Mapping[str, Any]
"""What `Lease.sign` gave, as a storage keeps it."""

_held: set[str] = set()  # leases of this process


class Lease:
    """One worker's sign of life, kept with the trial that it runs.

    Attributes:
        id: Of this worker, as no other one's.
        storage: Where the trials are.
    """

    def __init__(self, storage: PatientStorage) -> None:
        self.id = uuid.uuid4().hex
        self.storage = storage
        self._process = this_process()
        self._beats = 0
        self._trial_id: int | None = None
        self._heart = Heartbeat(self._beat, storage.grace / BEATS_PER_GRACE)

    def __enter__(self) -> Self:
        """Be alive within the block."""
        _held.add(self.id)
        self._heart.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Be so no longer."""
        self._heart.__exit__(kind, error, trace)
        _held.discard(self.id)

    def take(self, trial_id: int) -> None:
        """Write into a trial whose it is."""
        self.storage.set_trial_user_attr(trial_id, LEASE, self.sign())

    @contextmanager
    def beating(self, trial_id: int) -> Generator[None]:
        """Within the block the trial's sign is renewed."""
        self._trial_id = trial_id
        try:
            yield
        finally:
            self._trial_id = None

    def sign(self) -> dict[str, Any]:
        """Whose it is, how often it has beaten, and when this was asked."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return {"id": self.id, **asdict(self._process), "beat": self._beats, "time": at}

    def _beat(self) -> None:
        trial_id = self._trial_id
        if trial_id is not None:
            self._beats += 1
            with self.storage.impatient():
                self.take(trial_id)


class Reaper:
    """Knows dead workers by their process, or by a heartbeat that stands still.

    A heartbeat is timed by the clock of the one who looks, and anew after its storage was away: the
    wall clocks of hosts differ, and may jump.
    """

    def __init__(
        self, storage: PatientStorage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.storage = storage
        self._clock = clock
        self._outages = storage.outages
        self._seen: dict[tuple[Hashable, str, int], float] = {}

    def dead(self, running: Iterable[FrozenTrial]) -> list[tuple[FrozenTrial, str]]:
        """Those of the running trials whose worker has stopped, each with the reason."""
        trials = {trial.number: trial for trial in running}
        found = self.stopped({number: sign_of(trial) for number, trial in trials.items()})
        return [(trials[number], why) for number, why in found.items()]

    def stopped(self, signs: Mapping[K, Sign | None]) -> dict[K, str]:
        """Those of the signs whose worker has stopped, each with the reason."""
        now = self._clock()
        if self.storage.outages != self._outages:
            self._outages = self.storage.outages
            self._seen = {}
        keys = [(of, sign["id"], sign["beat"]) for of, sign in signs.items() if sign is not None]
        self._seen = {key: self._seen.get(key, now) for key in keys}
        whys = ((of, self._why(of, sign, now)) for of, sign in signs.items())
        return {of: why for of, why in whys if why}

    def _why(self, of: Hashable, sign: Sign | None, now: float) -> str:
        if sign is None:
            return "its worker stopped before it had begun"
        process = Process(**{k: sign[k] for k in ("host", "place", "pid", "started")})
        who = f"its worker {process.host}/{process.pid} stopped"
        if process == this_process():
            return "" if sign["id"] in _held else who
        if process.is_gone:
            return who
        still = now - self._seen[of, sign["id"], sign["beat"]]
        if still >= self.storage.grace:
            return f"{who}: no heartbeat for {still:.0f} seconds, the last at {sign['time']}"
        return ""


def reap(study: Study, reaper: Reaper, retries: int) -> int:
    """Fail the running trials of dead workers, and ask again those that may be.

    To be called in the study's turn.

    Args:
        study: Whose trials.
        reaper: Knows the dead.
        retries: How often a proposal whose worker stopped is asked again.

    Returns:
        How many there were.
    """
    dead = reaper.dead(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    for trial, why in dead:
        _take_away(study, reaper.storage, trial, _Stop(why, _deaths(trial) + 1, retries))
    return len(dead)


def give_up(study: Study, storage: PatientStorage, number: int) -> None:
    """Queue the proposal of the caller's own unfinished trial anew, as often as it is stopped.

    Where the storage is away, the trial is left to whoever starts next.
    """
    with storage.impatient(), suppress(StorageAway, StorageFailed):
        trial = study.get_trials(deepcopy=False)[number]
        if not trial.state.is_finished():
            _take_away(study, storage, trial, _Stop("interrupted", _deaths(trial)))


def was_taken(study: Study, number: int) -> bool:
    """Whether the trial was taken away from a worker that seemed dead."""
    trial = study.get_trials(deepcopy=False)[number]
    return trial.state == TrialState.FAIL and STOPPED in trial.user_attrs


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why a trial ended untold, how many of its workers died, and how many may."""

    why: str
    deaths: int
    retries: int | None = None


def _take_away(study: Study, storage: PatientStorage, trial: FrozenTrial, stop: _Stop) -> None:
    """Queue the proposal anew, then fail the trial.

    In this order a kill in between neither loses the proposal nor doubles it. Of a worker that only
    seemed dead and told its trial meanwhile, the repeat is withdrawn.
    """
    study_id = storage.get_study_id_from_name(study.study_name)

    def trial_id(of: FrozenTrial) -> int:
        return storage.get_trial_id_from_study_id_trial_number(study_id, of.number)

    if stop.retries is None or stop.deaths <= stop.retries:
        _ask_again(study, trial, stop.deaths)
    try:
        storage.set_trial_user_attr(trial_id(trial), STOPPED, stop.why)
        storage.set_trial_state_values(trial_id(trial), TrialState.FAIL)
    except UpdateFinishedTrialError:
        ended = study.get_trials(deepcopy=False)[trial.number]
        for repeat in _repeats(study, trial) if ended.state != TrialState.FAIL else []:
            with suppress(UpdateFinishedTrialError):
                storage.set_trial_user_attr(trial_id(repeat), STOPPED, TOLD)
                storage.set_trial_state_values(trial_id(repeat), TrialState.FAIL)


def _ask_again(study: Study, trial: FrozenTrial, deaths: int) -> None:
    """Queue an unfinished trial's proposal anew, once."""
    if _repeats(study, trial):
        return
    attrs = {k: v for k, v in trial.user_attrs.items() if k not in NOT_REPEATED}
    attrs |= {RETRY_OF: trial.number, PROPOSAL: proposal_index(study, trial), DEATHS: deaths}
    # What a sampler noted of its proposal is not noted again where the parameters are fixed; of a
    # proposal that was not drawn to its end nothing is kept, and it is drawn again.
    noted = {k: v for k, v in trial.system_attrs.items() if k != TOKEN}
    if SUGGESTED in trial.user_attrs or FIXED in noted:
        noted[FIXED] = trial.params | noted.get(FIXED, {})
    else:
        noted = {}
    study.add_trial(create_trial(state=TrialState.WAITING, user_attrs=attrs, system_attrs=noted))


def _repeats(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    others = study.get_trials(deepcopy=False)
    return [other for other in others if other.user_attrs.get(RETRY_OF) == trial.number]


def _deaths(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get(DEATHS, 0))


def sign_of(trial: FrozenTrial) -> Sign | None:
    """Who has, or had, the trial, if anybody."""
    sign = trial.user_attrs.get(LEASE)
    return sign if isinstance(sign, dict) else None
