"""A study of many told trials, written into the tables at once: asking for each takes hours."""

import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from json import dumps
from typing import Any

import optuna
from bench import LAYERS, OBJECTIVE, SPACE, THRIFT, Place, evaluation, split
from mlflow import MlflowClient
from mlflow.entities import Metric
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FixedTrial
from sqlalchemy import Engine, create_engine, func, insert, select, text

from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe, to_json
from merit_opt.search.controls import CONTROL
from merit_opt.search.leases import LEASE
from merit_opt.search.spaces import switched_on
from merit_opt.search.storage.patient import TOKEN
from merit_opt.search.trial import RECORD, keep_choice
from merit_opt.tracking.mlflow import MlflowTracker
from merit_opt.tracking.record import StudyRecord
from merit_opt.tracking.rows import KEPT

BATCH = 500
BORN = datetime(2026, 1, 1)
SIGN = {"host": "node-0", "place": f"{uuid.uuid4()} pid:[4026531836]", "pid": 4321}
SUITE = split().search
BASE = constructors.base(LAYERS)
YARDSTICK = Yardstick(SUITE, OBJECTIVE, evaluation(BASE, SUITE))


def fill(place: Place, trials: int, mlflow: str) -> None:
    """Leave a study of so many trials at `place`, all of them in MLflow; or find them there."""
    storage = place.open()
    study = optuna.create_study(
        study_name="s", storage=storage, direction="maximize", load_if_exists=True
    )
    if "uid" not in study.user_attrs:
        study.set_user_attr("uid", uuid.uuid4().hex)
        keep_choice(study, THRIFT)
    uid = study.user_attrs["uid"]
    storage.close()
    url = place.url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    with engine.connect() as connection:
        count = connection.scalar(select(func.count()).select_from(models.TrialModel)) or 0
    if count < trials:
        for first in range(count, trials, BATCH):
            _write(engine, range(first, min(first + BATCH, trials)))
        if place.kind == "postgres":
            with engine.begin() as connection:
                connection.execute(text("SELECT setval('trials_trial_id_seq', :n)"), {"n": trials})
        _mark(mlflow, uid, trials)
    engine.dispose()


def _write(engine: Engine, numbers: Sequence[int]) -> None:
    rows: dict[type, list[dict[str, Any]]] = {}
    for number in numbers:
        for table, row in _rows(number):
            rows.setdefault(table, []).append(row)
    with engine.begin() as connection:
        for table, content in rows.items():
            connection.execute(insert(table), content)


def _rows(number: int) -> Iterator[tuple[type, dict[str, Any]]]:
    trial_id, at = number + 1, BORN + timedelta(minutes=number)
    trial = {"trial_id": trial_id, "number": number, "study_id": 1, "state": "COMPLETE"}
    yield models.TrialModel, {**trial, "datetime_start": at, "datetime_complete": at}
    params = {} if number == 0 else _drawn(random.Random(number))
    for name, value in params.items():
        distribution = distribution_to_json(SPACE.distributions[name])
        param = {"trial_id": trial_id, "param_name": name, "param_value": value}
        yield models.TrialParamModel, {**param, "distribution_json": distribution}
    recipe = SPACE.suggest(FixedTrial(params)) if params else BASE
    record = _record(recipe)
    value = {"trial_id": trial_id, "objective": 0, "value": record["value"]}
    yield models.TrialValueModel, {**value, "value_type": "FINITE"}
    control = {} if params else {CONTROL: ["base", to_json(BASE)]}
    sign = {"id": uuid.uuid4().hex, **SIGN, "started": "1", "beat": 7, "time": at.isoformat()}
    for key, attr in ({RECORD: record, LEASE: sign} | control).items():
        kept = {"trial_id": trial_id, "key": key, "value_json": dumps(attr)}
        yield models.TrialUserAttributeModel, kept
    token = {"trial_id": trial_id, "key": TOKEN, "value_json": dumps(uuid.uuid4().hex)}
    yield models.TrialSystemAttributeModel, token


def _drawn(draws: random.Random) -> dict[str, float]:
    return {
        name: round(draws.uniform(d.low, d.high), 6)
        if isinstance(d, FloatDistribution)
        else draws.randint(d.low, d.high)
        for name, d in SPACE.distributions.items()
    }


def _record(recipe: Recipe) -> dict[str, Any]:
    found = evaluation(recipe, SUITE)
    return {
        "recipe": to_json(recipe),
        "metrics": YARDSTICK.metrics(found),
        "seconds": {"suggest": 0.1, "evaluate": 60.0, "total": 60.1},
        "cost": {"questions": 400.0, "tokens": 1e6, "flops": 1e15},
        "why": "",
        "value": YARDSTICK.value(found),
        "cached": False,
        "switched_on": switched_on(SPACE, recipe),
    }


def _mark(uri: str, uid: str, trials: int) -> None:
    """Tell MLflow's run of the study that each trial has one; those runs themselves are left out."""
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="bench", patience=20.0)
    tracker.start(StudyRecord("s", "f", {}, "", uid=uid))
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("bench").experiment_id
    [run] = client.search_runs([experiment], f"tags.role = 'study' and tags.uid = '{uid}'")
    for first in range(0, trials, BATCH):
        steps = range(first, min(first + BATCH, trials))
        points = [Metric(KEPT, 60.1, 1_767_225_600_000 + 60_000 * n, n) for n in steps]
        client.log_batch(run.info.run_id, metrics=points)
