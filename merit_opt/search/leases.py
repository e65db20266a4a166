"""Who runs a trial: a lock that the system gives back when its process dies."""

import os
import socket
import uuid
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from merit_opt.errors import UserError
from merit_opt.search.priors import SEED
from merit_opt.search.samplers import CONTROL, PROPOSAL, RETRY_OF, proposal_index

LEASE = "lease"


class Lease:
    """One worker's sign of life: a locked file in the study's folder."""

    def __init__(self, folder: Path) -> None:
        _make(folder)
        self.folder = folder
        self.id = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._lock = FileLock(_path(folder, self.id))

    def __enter__(self) -> Self:
        """Hold the lock for the block."""
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lock up."""
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def turn(folder: Path) -> FileLock:
    """Held while one worker of this host makes up its mind about what all of them share."""
    _make(folder)
    return FileLock(folder / "turn")


def ask_dead_again(study: Study, folder: Path) -> int:
    """Fail the running trials of dead processes and queue each to be asked again.

    A trial of another host whose lock is not in this folder is left alone.

    Returns:
        How many there were.
    """
    with turn(folder):
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        dead = [t for t in running if _is_dead(t.user_attrs.get(LEASE), folder)]
        for trial in dead:
            ask_again(study, trial)
    return len(dead)


def ask_again(study: Study, trial: FrozenTrial) -> None:
    """Queue an unfinished trial's proposal anew, once, then fail the trial.

    In this order a kill in between neither loses the proposal nor doubles it.
    """
    others = study.get_trials(deepcopy=False)
    if not any(other.user_attrs.get(RETRY_OF) == trial.number for other in others):
        attrs = {k: v for k, v in trial.user_attrs.items() if k in (CONTROL, SEED)}
        attrs |= {RETRY_OF: trial.number, PROPOSAL: proposal_index(study, trial)}
        fixed = {k: v for k, v in trial.system_attrs.items() if k == "fixed_params"}
        study.add_trial(
            create_trial(state=TrialState.WAITING, user_attrs=attrs, system_attrs=fixed)
        )
    study.tell(trial.number, state=TrialState.FAIL)


def _is_dead(lease: str | None, folder: Path) -> bool:
    if lease is None:
        return True
    path = _path(folder, lease)
    if not path.exists():
        return lease.split("/", 1)[0] == socket.gethostname()
    try:
        with FileLock(path, timeout=0):
            return True
    except Timeout:
        return False


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {folder}: {error.strerror}; choose another output_dir="
        ) from error


def _path(folder: Path, lease: str) -> Path:
    return folder / f"{lease.replace('/', '-')}.lock"
