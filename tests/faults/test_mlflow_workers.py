"""Several workers write one study to MLflow at once, with and without a lock between them."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from merit_opt.tracking.local_store import prepare
from tests.faults.mlflow_server import MlflowServer

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(sys.platform != "linux", reason="forks"),
]

WORKERS, TRIALS = 4, 5

# All begin at once, each repairs what the others have told meanwhile and tells trials of its own.
CROWD = """
import os, sys, random, time, traceback
import mlflow, mlflow.tracking, mlflow.store.tracking.sqlalchemy_store
import optuna
from merit_opt.recipe.constructors import uniform
from merit_opt.recipe.recipe import to_json
from merit_opt.search.storage.sqlite import open_sqlite
from merit_opt.search.tracked import Tracked
from merit_opt.search.front import Thrift
from merit_opt.search.trial import RECORD, best, keep_choice, record_of
from merit_opt.tracking.mlflow import MlflowTracker
from merit_opt.tracking.record import StudyRecord

uri, url, workers, trials = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def complain(message):
    raise RuntimeError(message)

def live(worker, begin):
    study = optuna.load_study(study_name="crowd", storage=open_sqlite(url=url, patience=60.0, grace=60.0))
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="crowd", patience=60.0)
    tracked = Tracked(tracker, complain, study)
    draws = random.Random(worker)
    tell(study, draws)
    time.sleep(max(0.0, begin - time.time()))
    tracked.start(StudyRecord("crowd", "f00d", {"pair": "tiny"}, "", uid="u1"))
    for _ in range(trials - 1):
        record = tell(study, draws)
        tracked.log_trial(record, best(study))

def tell(study, draws):
    trial = study.ask()
    value = trial.suggest_float("x", 0.0, 1.0)
    recipe = to_json(uniform(9, max(value, 0.01)))
    kept = {"recipe": recipe, "metrics": {"TR": value}, "seconds": {"total": 0.1}, "why": "", "switched_on": 9}
    trial.set_user_attr(RECORD, kept)
    return record_of(study.tell(trial, draws.random()))

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="crowd", storage=open_sqlite(url=url, patience=60.0, grace=60.0), direction="maximize")
keep_choice(study, Thrift(0.0))
begin, children = time.time() + 2.0, []
for worker in range(workers):
    child = os.fork()
    if child == 0:
        try:
            live(worker, begin)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    from merit_opt.tracking.mlflow import create_database

    prepare(tmp_path / "mlflow.db", create_database)
    return tmp_path / "mlflow.db"


@pytest.fixture
def server(database: Path) -> Iterator[str]:
    """The address of an MLflow server of this machine's own."""
    served = MlflowServer(database)
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


def test_workers_that_write_at_once_leave_one_whole_study(uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    storage = f"sqlite:///{tmp_path}/merit.db"
    command = [sys.executable, "-W", "ignore", "-c", CROWD, uri, storage]
    crowd = subprocess.run(
        [*command, str(WORKERS), str(TRIALS)], capture_output=True, text=True, check=False
    )
    assert crowd.returncode == 0, crowd.stderr

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
