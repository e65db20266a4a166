"""A study read from its storage, which is not changed."""

from collections import Counter

from optuna.storages import BaseStorage
from optuna.study import get_all_study_names, load_study

from merit_opt.search.conclusion import FORK
from merit_opt.search.fingerprint import ATTR, digest
from merit_opt.search.references import UID, no_study
from merit_opt.search.trial import best, front_of, told_records
from merit_opt.tracking.record import StudyRecord, ToldStudy


def told_study(storage: BaseStorage, name: str) -> ToldStudy:
    """The study of that name, as far as it has come.

    Raises:
        UserError: There is none.
    """
    names = get_all_study_names(storage)
    if name not in names:
        raise no_study(name, names)
    study = load_study(study_name=name, storage=storage)
    parts = study.user_attrs.get(ATTR, {})
    return ToldStudy(
        record=StudyRecord(name, digest(parts), {}, "", uid=study.user_attrs.get(UID, "")),
        fingerprint=parts,
        states=Counter(trial.state.name for trial in study.get_trials(deepcopy=False)),
        trials=tuple(told_records(study).values()),
        best=best(study),
        front=tuple(record.number for record in front_of(study)),
        forked_from=study.user_attrs.get(FORK),
    )
