"""Who is at work on a study: a worker whose time is over ends it only when nobody else is."""

from optuna.study import Study

from merit_opt.search.leases import Lease, Reaper, Sign, sign_of

AT_WORK = "at work/"  # the study's attribute of a worker, its lease's id behind it; null when done


class Crew:
    """The workers of a study, one of which asks.

    A worker is at work from its first question to its last, between two trials too, unless its
    process has ended or, where that cannot be seen, its last sign of life is too old.
    """

    def __init__(self, study: Study, lease: Lease) -> None:
        self._study = study
        self._lease = lease
        self._reaper = Reaper(lease.storage)
        self._key = AT_WORK + lease.id

    def join(self) -> None:
        """Be one of them."""
        self._study.set_user_attr(self._key, self._lease.sign())

    def leave(self) -> None:
        """Be so no longer."""
        if self._study.user_attrs.get(self._key) is not None:
            self._study.set_user_attr(self._key, None)

    @property
    def is_at_work(self) -> bool:
        """Whether anybody is."""
        marks = self._study.user_attrs.items()
        joined = {sign["id"]: sign for key, sign in marks if key.startswith(AT_WORK) and sign}
        last: dict[str, tuple[int, Sign]] = {of: (-1, sign) for of, sign in joined.items()}
        for trial in self._study.get_trials(deepcopy=False) if joined else ():
            sign = sign_of(trial)
            if sign is not None and sign["id"] in joined:
                last[sign["id"]] = trial.number, sign
        signs = {(of, number): sign for of, (number, sign) in last.items()}
        return len(self._reaper.stopped(signs)) < len(signs)
