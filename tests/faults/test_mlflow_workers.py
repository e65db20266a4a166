"""Several workers write one study to MLflow at once, with and without a lock between them."""

import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from merit_opt.recipe.constructors import uniform
from merit_opt.recipe.recipe import to_json
from merit_opt.search.front import Thrift
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.sqlite import open_sqlite
from merit_opt.search.tracked import Tracked
from merit_opt.search.trial import RECORD, best, keep_choice, record_of
from merit_opt.tracking.mlflow import MlflowTracker
from merit_opt.tracking.record import StudyRecord, TrialRecord
from tests.faults.mlflow_server import MlflowServer
from tests.faults.nursery import Nursery

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(sys.platform != "linux", reason="forks"),
]

WORKERS, TRIALS = 4, 5

LIVE = "tests.faults.test_mlflow_workers:live"


def live(uri: str, url: str, worker: int, begin: float) -> int:
    """Tell a trial, begin with all others, repair what they told meanwhile, and tell more."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="crowd", storage=storage_of(url))
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="crowd", patience=60.0)
    tracked = Tracked(tracker, pytest.fail, study)
    draws = random.Random(worker)
    tell(study, draws)
    time.sleep(max(0.0, begin - time.time()))
    tracked.start(StudyRecord("crowd", "f00d", {"pair": "tiny"}, "", uid="u1"))
    for _ in range(TRIALS - 1):
        record = tell(study, draws)
        tracked.log_trial(record, best(study))
    return 0


def tell(study: optuna.Study, draws: random.Random) -> TrialRecord:
    trial = study.ask()
    value = trial.suggest_float("x", 0.0, 1.0)
    recipe = to_json(uniform(9, max(value, 0.01)))
    kept = {"recipe": recipe, "metrics": {"TR": value}, "seconds": {"total": 0.1}, "why": ""}
    kept["switched_on"] = 9
    trial.set_user_attr(RECORD, kept)
    return record_of(study.tell(trial, draws.random()))


def storage_of(url: str) -> PatientStorage:
    return open_sqlite(url=url, patience=60.0, grace=60.0)


@pytest.fixture
def database(empty_mlflow: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_mlflow, tmp_path))


@pytest.fixture
def server(nursery: Nursery, database: Path) -> Iterator[str]:
    """The address of an MLflow server of this machine's own."""
    served = MlflowServer(nursery, database)
    try:
        served.start()
        yield served.uri
    finally:
        served.stop()


@pytest.fixture(params=["sqlite", "http"])
def uri(request: pytest.FixtureRequest, database: Path) -> str:
    if request.param == "http":
        return request.getfixturevalue("server")
    return f"sqlite:///{database}"


def test_workers_that_write_at_once_leave_one_whole_study(
    nursery: Nursery, uri: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    url = f"sqlite:///{tmp_path}/merit.db"
    study = optuna.create_study(study_name="crowd", storage=storage_of(url), direction="maximize")
    keep_choice(study, Thrift(0.0))
    begin = time.time() + 2.0
    crowd = [nursery.start(tmp_path, LIVE, uri, url, n, begin) for n in range(WORKERS)]
    codes = [nursery.code(worker) for worker in crowd]
    assert codes == [0] * WORKERS, (tmp_path / "said").read_text()

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("crowd").experiment_id
    [parent] = client.search_runs([experiment], "tags.role = 'study'")
    own = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    children = client.search_runs([experiment], own)
    numbers = range(WORKERS * TRIALS)
    assert Counter(int(run.data.tags["optuna_trial"]) for run in children) == Counter(numbers)
    assert {run.info.status for run in children} == {"FINISHED"}
    assert len(client.search_runs([experiment])) == 1 + len(children)

    def curve(name: str) -> list[tuple[int, float]]:
        history = client.get_metric_history(parent.info.run_id, name)
        return sorted((point.step, point.value) for point in history)

    values = dict(curve("value"))
    assert Counter(step for step, _ in curve("value")) == Counter(numbers)
    assert Counter(step for step, _ in curve("trial_seconds")) == Counter(numbers)
    rising = [value for _, value in curve("best_value")]
    assert rising == sorted(rising)
    assert rising[-1] == max(values.values()) == parent.data.metrics["best_value"]
    first = parent.data.tags["mlflow.note.content"].splitlines()[0]
    assert first.startswith("best so far: **t")
