"""A search killed at any moment loses no finished trial and counts none twice.

Importing the libraries takes longer than the study, so the searches are forked from one process
that has them: each is a process of its own, killed by the system like any other.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from merit_opt.search.controls import control_recipe
from merit_opt.search.samplers import CONTROL, proposal_index

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("kill_resume"),
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc"),
]

TRIALS = 16
NAME = "tiny-clips-layerwise-tpe-s0"
SMALL = (
    "suite.clips=6",
    "suite.tr_per_clip=2",
    "suite.tp_per_clip=2",
    f"study.trials={TRIALS}",
    "device=cpu",
)
PATIENCE = 120.0
MERIT_OPT = "from merit_opt.cli.main import main; main()"

NURSERY = """
import json, os, sys
import torch
torch.set_num_threads(1)
import merit_opt.cli.search, merit_opt.cli.app, merit_opt.models.tiny.pair
import merit_opt.search.samplers, merit_opt.search.storage, merit_opt.data.clips.suite
import mlflow, mlflow.tracking, mlflow.store.tracking.sqlalchemy_store
from merit_opt.cli.main import run
from merit_opt.evaluation import gap, stats
gap.RESAMPLES = stats.RESAMPLES = 99
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if isinstance(order, int):
        _, status = os.waitpid(order, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    child = os.fork()
    if child == 0:
        folder, arguments = order
        os.chdir(folder)
        said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1), os.dup2(said, 2)
        code = run(arguments)
        sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
"""


@dataclass
class Nursery:
    """Forks searches."""

    process: subprocess.Popen[str]

    def _answer(self, order: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the nursery died"
        return int(line)

    def start(self, folder: Path, *arguments: str) -> int:
        """The process of a search that runs in `folder` and keeps what it says in `said`."""
        return self._answer([str(folder), ["search", *SMALL, *arguments]])

    def code(self, child: int) -> int:
        """The exit code of a process, once it has ended."""
        return self._answer(child)

    def run(
        self,
        folder: Path,
        *arguments: str,
        until: Callable[[], bool] = lambda: False,
        by: signal.Signals = signal.SIGKILL,
    ) -> int:
        """The exit code of a search in `folder`, signalled as soon as `until` holds."""
        child = self.start(folder, *arguments)
        deadline = time.monotonic() + PATIENCE
        while _is_alive(child) and time.monotonic() < deadline:
            if until():
                with suppress(ProcessLookupError):
                    os.kill(child, by)
                break
            time.sleep(0.003)
        return self.code(child)


def _is_alive(child: int) -> bool:
    try:
        state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture(scope="module")
def environment(repo: Path) -> dict[str, str]:
    """Of a process of its own, in whatever folder it starts."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo)}


@pytest.fixture(scope="module")
def nursery(environment: dict[str, str]) -> Iterator[Nursery]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield Nursery(process)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted study."""
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.run(folder, "tracking=none") == 0, (folder / "said").read_text()
    return folder


@dataclass
class Kept:
    """What a folder's study storage holds now."""

    folder: Path
    database: Path = field(init=False)

    def __post_init__(self) -> None:
        self.database = self.folder / "outputs" / "merit.db"

    def complete(self) -> int:
        """Finished trials; 0 while there is no storage."""
        if not self.database.exists():
            return 0
        with closing(sqlite3.connect(self.database)) as connection, suppress(sqlite3.Error):
            query = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
            return int(connection.execute(query).fetchone()[0])
        return 0

    def trials(self) -> tuple[optuna.Study, list[FrozenTrial]]:
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.database}")
        study = optuna.load_study(study_name=NAME, storage=storage)
        trials = study.trials
        storage.engine.dispose()
        return study, trials

    def sequence(self) -> dict[int, tuple[dict[str, float], float | None]]:
        """Proposal index -> parameters and value; fails when an index was measured twice."""
        study, trials = self.trials()
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        found = {proposal_index(study, t): (t.params, t.value) for t in done}
        assert len(found) == len(done), "a proposal was counted twice"
        return found

    def controls(self) -> Counter[str]:
        """How often each control is complete."""
        _, trials = self.trials()
        return Counter(
            control_recipe(t.user_attrs[CONTROL])[0]
            for t in trials
            if CONTROL in t.user_attrs and t.state == TrialState.COMPLETE
        )

    def result(self) -> dict:
        path = self.folder / "outputs" / "studies" / NAME / "result.json"
        return json.loads(path.read_text())


def once(reached: Callable[[], bool], delay: float = 0.0) -> Callable[[], bool]:
    """Holds `delay` seconds after `reached` first did."""
    first: list[float] = []

    def holds() -> bool:
        if not first and reached():
            first.append(time.monotonic())
        return bool(first) and time.monotonic() - first[0] >= delay

    return holds


def moments(folder: Path) -> Iterator[Callable[[], bool]]:
    """From the first clip to the final comparison, at odd fractions of a trial."""
    outputs, kept = folder / "outputs", Kept(folder)
    yield once(lambda: (outputs / "cache").exists(), 0.02)
    for count, delay in ((0, 0.013), (6, 0.031), (13, 0.047)):
        yield once(lambda count=count: kept.complete() > count, delay)
    yield once(lambda: kept.complete() == TRIALS, 0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_search_killed_again_and_again_equals_an_uninterrupted_one(nursery, whole, folder):
    codes = [nursery.run(folder, "tracking=none", until=m) for m in moments(folder)]
    assert nursery.run(folder, "tracking=none") == 0, (folder / "said").read_text()
    assert codes.count(-signal.SIGKILL) >= 3, codes
    assert "Traceback" not in (folder / "said").read_text()

    kept, expected = Kept(folder), Kept(whole)
    assert len(kept.sequence()) == kept.complete() == TRIALS
    assert kept.sequence() == expected.sequence()
    assert set(kept.controls().values()) == {1}
    assert kept.controls() == expected.controls()
    _, trials = kept.trials()
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert all(t.value is None for t in trials if t.state == TrialState.FAIL)

    ours, theirs = kept.result(), expected.result()
    assert ours["best"] | {"number": 0} == theirs["best"] | {"number": 0}
    assert ours["confirm"]["best"] == theirs["confirm"]["best"]
    assert ours["confirm"]["difference"] == theirs["confirm"]["difference"]
    assert ours["trials"]["complete"] == TRIALS


def test_two_workers_one_of_them_killed_finish_one_study(nursery, whole, folder):
    shutil.copytree(whole / "outputs" / "cache", folder / "outputs" / "cache")
    kept = Kept(folder)
    survivor = nursery.start(folder, "tracking=none")
    victim = nursery.run(folder, "tracking=none", until=lambda: kept.complete() > 4)
    assert (victim, nursery.code(survivor)) == (-signal.SIGKILL, 0), (folder / "said").read_text()
    assert nursery.run(folder, "tracking=none") == 0
    assert TRIALS <= kept.complete() <= TRIALS + 1
    assert len(kept.sequence()) == kept.complete()
    assert set(kept.controls().values()) == {1}
    _, trials = kept.trials()
    assert not [t for t in trials if t.state == TrialState.RUNNING]


def test_ctrl_c_leaves_a_study_that_goes_on_and_says_how(nursery, whole, folder):
    shutil.copytree(whole / "outputs" / "cache", folder / "outputs" / "cache")
    kept = Kept(folder)
    for count, delay in ((2, 0.0), (4, 0.005), (6, 0.011), (8, 0.017), (10, 0.023)):
        reached = once(lambda count=count: kept.complete() > count, delay)
        code = nursery.run(folder, "tracking=none", until=reached, by=signal.SIGINT)
        said = " ".join((folder / "said").read_text().split())
        assert code == 130, said
        assert "nothing measured is lost. To go on, give the same command again" in said
        assert f"(study {NAME} in outputs)" in said
        assert "Traceback" not in said
        _, trials = kept.trials()
        assert not [t for t in trials if t.state == TrialState.RUNNING]
    assert nursery.run(folder, "tracking=none") == 0
    assert kept.sequence() == Kept(whole).sequence()


@pytest.mark.parametrize("seconds", [0.1, 0.5, 0.9])
def test_ctrl_c_while_libraries_load_is_no_traceback(folder, environment, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", f"print('up', flush=True)\n{MERIT_OPT}", "search", *SMALL],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")


@pytest.fixture
def tracked(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an empty MLflow database, made once for all processes of a test run."""
    from merit_opt.tracking.local_store import prepare
    from merit_opt.tracking.mlflow import create_database

    template = tmp_path_factory.getbasetemp().parent / "mlflow_template" / "mlflow.db"
    prepare(template, create_database)
    (folder / "outputs").mkdir()
    shutil.copy(template, folder / "outputs")
    return folder


def test_mlflow_has_each_trial_of_a_killed_search_once(nursery, whole, tracked):
    shutil.copytree(whole / "outputs" / "cache", tracked / "outputs" / "cache")
    kept = Kept(tracked)
    for count, delay in ((2, 0.03), (9, 0.11)):
        reached = once(lambda count=count: kept.complete() > count, delay)
        code = nursery.run(tracked, "tracking=mlflow", until=reached)
        assert code == -signal.SIGKILL, (tracked / "said").read_text()
    assert nursery.run(tracked, "tracking=mlflow") == 0, (tracked / "said").read_text()
    assert kept.sequence() == Kept(whole).sequence()
    query = (
        "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'optuna_trial' AND r.lifecycle_stage = 'active'"
    )
    with closing(sqlite3.connect(tracked / "outputs" / "mlflow.db")) as connection:
        rows = connection.execute(query).fetchall()
    numbers = Counter(int(number) for number, _ in rows)
    _, trials = kept.trials()
    complete = {t.number for t in trials if t.state == TrialState.COMPLETE}
    assert set(numbers.values()) == {1}
    assert complete <= numbers.keys()
    assert {status for number, status in rows if int(number) in complete} == {"FINISHED"}
