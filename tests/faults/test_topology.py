"""What docker/compose.yaml starts, started here: its commands, its environment, its health checks."""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import optuna
import pytest
from optuna.trial import TrialState

from merit_opt.search.samplers import proposal_index
from merit_opt.search.storage.postgres import open_postgres
from tests.compose import PATIENCE, REPO, Host, services, words
from tests.faults.nursery import Nursery
from tests.postgres import Postgres, free_port, running

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="forks"),
]

STUDY, TRIALS, WORKERS = "shared", 12, 4
CANARY = "canary-d0-n0t-sh0w-me"
SEARCH = (
    f"study.name={STUDY} study.trials={TRIALS} study.random_layers=1 seed=3 sampler=random pruner=none "
    "suite.clips=10 suite.tr_per_clip=2 suite.tp_per_clip=2"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server of this module's own."""
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def host(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Where the services run, beside databases that are as the file's."""
    folder = tmp_path_factory.mktemp("host")
    port, mlflow, dashboard = server.listen(), free_port(), free_port()
    server.run(REPO / "docker" / "databases.sql", port, POSTGRES_PASSWORD=CANARY)
    secret = folder / "pgpass"
    secret.touch(mode=0o600)
    secret.write_text(f"*:*:*:merit:{CANARY}\n")
    places = {
        "postgres:5432": f"127.0.0.1:{port}",
        "http://mlflow:5000": f"http://127.0.0.1:{mlflow}",
        "http://127.0.0.1:5000": f"http://127.0.0.1:{mlflow}",
        "http://127.0.0.1:8080": f"http://127.0.0.1:{dashboard}",
        "--port=5000": f"--port={mlflow}",
        "--port=8080": f"--port={dashboard}",
        "--host=0.0.0.0": "--host=127.0.0.1",
        "/outputs": str(folder / "outputs"),
        "/artifacts": str(folder / "artifacts"),
        "/run/secrets/pgpass": str(secret),
    }
    values = {"MERIT_SEARCH": SEARCH, "MERIT_STUDY": STUDY, "MERIT_REPORT": "samples=0"}
    found = Host(services(values), places, folder)
    try:
        yield found
    finally:
        found.end()


@pytest.fixture(scope="module")
def ended(host: Host, nursery: Nursery) -> Host:
    """All services were started as their dependencies say, and the workers have ended."""
    (host.folder / "outputs").mkdir()
    host.start("mlflow")
    assert nursery.code(host.fork("prepare", nursery)) == 0, said(host)
    host.start("dashboard")
    wait_until_healthy(host, "mlflow")
    workers = [host.fork("worker", nursery) for _ in range(WORKERS)]
    assert [nursery.code(worker) for worker in workers] == [0] * WORKERS, said(host)
    assert nursery.code(host.fork("report", nursery)) == 0, said(host)
    return host


def said(host: Host) -> str:
    return "\n".join(
        f"{p.name}: {p.read_text()[-2000:]}"
        for p in (*host.folder.glob("*.log"), host.folder / "said")
    )


def wait_until_healthy(host: Host, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while host.check(name) != 0:
        assert time.monotonic() < deadline, said(host)
        time.sleep(0.5)


def answer(address: str, **headers: str) -> Any:
    with urlopen(Request(address, headers=headers), timeout=30) as reply:
        return json.load(reply)


def test_the_study_has_its_trials_each_once(ended, monkeypatch):
    monkeypatch.setenv("PGPASSFILE", ended.places["/run/secrets/pgpass"])
    url = f"postgresql://merit@{ended.places['postgres:5432']}/studies"
    storage = open_postgres(url=url, patience=0.0, grace=60.0)
    study = optuna.load_study(study_name=STUDY, storage=storage)
    found = study.get_trials(deepcopy=False)
    proposals = Counter(proposal_index(study, trial) for trial in found)
    storage.close()
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * TRIALS
    assert max(proposals.values()) == 1
    leases = {trial.user_attrs["lease"]["id"] for trial in found}
    assert len(leases) > 1, "one worker did everything"


def test_a_dump_brings_a_study_back(ended, server, monkeypatch):
    """As docker/README.md says it."""
    monkeypatch.setenv("PGPASSFILE", ended.places["/run/secrets/pgpass"])
    url = f"postgresql://merit@{ended.places['postgres:5432']}/studies"
    port = int(ended.places["postgres:5432"].rpartition(":")[2])
    dump, restore = (written(rf"exec -T postgres (.*) [<>] \S+{end}") for end in ("; done", "$"))
    kept = server.answer([word.replace("$db", "studies") for word in dump], port)
    storage = open_postgres(url=url, patience=0.0, grace=60.0)
    before = optuna.load_study(study_name=STUDY, storage=storage).get_trials()
    optuna.delete_study(study_name=STUDY, storage=storage)
    storage.close()
    server.answer(restore, port, kept)
    storage = open_postgres(url=url, patience=0.0, grace=60.0)
    assert optuna.load_study(study_name=STUDY, storage=storage).get_trials() == before
    storage.close()


def test_mlflow_brings_its_database_to_its_version(ended):
    assert ended.run("mlflow", written(r"run --rm mlflow (db upgrade [^`]*)`")) == 0, said(ended)


def written(pattern: str) -> list[str]:
    """Words of a command in docker/README.md."""
    [found] = re.findall(pattern, (REPO / "docker" / "README.md").read_text(), re.MULTILINE)
    return words(found)


def test_mlflow_has_a_run_for_each_trial_and_its_files(ended, monkeypatch):
    from mlflow import MlflowClient

    address = ended.places["http://mlflow:5000"]
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    experiment = client.get_experiment_by_name("merit_opt").experiment_id
    [parent] = client.search_runs([experiment], "tags.role = 'study'")
    own = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    children = client.search_runs([experiment], own)
    numbers = Counter(int(run.data.tags["optuna_trial"]) for run in children)
    assert numbers == Counter(range(TRIALS))
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert [path.name for path in (ended.folder / "artifacts").rglob("*.html")] == ["report.html"]


def test_the_report_lies_with_the_study(ended):
    page = ended.folder / "outputs" / "studies" / STUDY / "report" / "report.html"
    assert f"<title>{STUDY}" in page.read_text()


def test_the_dashboard_shows_the_study(ended):
    wait_until_healthy(ended, "dashboard")
    address = f"{ended.places['http://127.0.0.1:8080']}/api/studies"
    [summary] = answer(address)["study_summaries"]
    assert summary["study_name"] == STUDY


def test_what_says_whether_a_worker_is_well_says_it(ended):
    assert ended.check("worker") == 0, said(ended)
    log = (ended.folder / "worker.log").read_text()
    assert log.endswith("\nall is well\n")


def test_mlflow_answers_to_its_names_alone(ended):
    address = (
        f"{ended.places['http://mlflow:5000']}/api/2.0/mlflow/experiments/get?experiment_id=0"
    )
    assert "experiment" in answer(address, Host="mlflow:5000")
    with pytest.raises(HTTPError, match="403"):
        answer(address, Host="elsewhere.example")


@pytest.mark.parametrize(
    ("user", "database", "password"),
    [("merit", "studies", ""), ("postgres", "studies", CANARY), ("merit", "postgres", CANARY)],
)
def test_a_database_opens_to_its_role_and_password_alone(ended, user, database, password):
    import psycopg

    place = ended.places["postgres:5432"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"postgresql://{user}@{place}/{database}", password=password or None)


def test_no_log_file_or_database_holds_the_secret(ended, server):
    secret = CANARY.encode()
    files = [path for path in ended.folder.rglob("*") if path.is_file()]
    holding = [path.name for path in files if secret in path.read_bytes()]
    assert holding == ["pgpass"]
    assert {"said", "mlflow.log", "result.json", "report.html"} <= {p.name for p in files}
    kept = server.dump(int(ended.places["postgres:5432"].rpartition(":")[2]))
    assert STUDY in kept
    assert CANARY not in kept
    assert CANARY not in (server.folder / "log").read_text()
