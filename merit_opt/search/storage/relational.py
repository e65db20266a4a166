"""Optuna's storage in a database, made to write each new trial once and to read trials fast."""

from json import dumps
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session

from merit_opt.search.storage.patient import TOKEN


class RelationalStorage(RDBStorage):
    """Knows a new trial again whose commit was not acknowledged.

    Optuna repeats the creation of a trial up to five times by itself.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any]) -> None:
        self._tried: set[str] = set()
        # Braces are a template of Optuna's, and may be in a password.
        super().__init__(url.replace("{", "{{").replace("}", "}}"), engine_kwargs)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> models.TrialModel:
        token = None if template_trial is None else template_trial.system_attrs.get(TOKEN)
        if token in self._tried and (found := _known(study_id, token, session)) is not None:
            return found
        if token is not None:
            self._tried.add(token)
        return super()._get_prepared_new_trial(study_id, template_trial, session)


def _known(study_id: int, token: str, session: Session) -> models.TrialModel | None:
    attribute = models.TrialSystemAttributeModel
    return (
        session.query(models.TrialModel)
        .join(attribute)
        .filter(models.TrialModel.study_id == study_id)
        .filter(attribute.key == TOKEN, attribute.value_json == dumps(token))
        .one_or_none()
    )
