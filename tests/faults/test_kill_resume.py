"""A search killed at any moment loses no finished trial and counts none twice."""

import json
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
from tests.faults.nursery import PATIENCE, Nursery, once

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc"),
]

TRIALS = 16
NAME = "tiny-clips-layerwise-flips-s0"
SMALL = (
    "suite.clips=6",
    "suite.tr_per_clip=2",
    "suite.tp_per_clip=2",
    f"study.trials={TRIALS}",
    "device=cpu",
)
RUN = "merit_opt.cli.main:run"
MERIT_OPT = "from merit_opt.cli.main import main; main()"


@dataclass
class Searches:
    """Starts `merit-opt search` in processes of their own."""

    nursery: Nursery

    def start(self, folder: Path, *arguments: str) -> int:
        """The process of a search that runs in `folder` and keeps what it says in `said`."""
        return self.nursery.start(folder, RUN, ["search", *SMALL, *arguments])

    def code(self, child: int) -> int:
        """The exit code of a process, once it has ended."""
        return self.nursery.code(child)

    def run(
        self,
        folder: Path,
        *arguments: str,
        until: Callable[[], bool] = lambda: False,
        by: signal.Signals = signal.SIGKILL,
    ) -> int:
        """The exit code of a search in `folder`, signalled as soon as `until` holds."""
        return self.nursery.watch(self.start(folder, *arguments), until, by)


@pytest.fixture
def searches(nursery: Nursery) -> Searches:
    return Searches(nursery)


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted study."""
    folder = tmp_path_factory.mktemp("whole")
    code = Searches(nursery).run(folder, "tracking=none")
    assert code == 0, (folder / "said").read_text()
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


def test_a_search_killed_again_and_again_equals_an_uninterrupted_one(searches, whole, folder):
    codes = [searches.run(folder, "tracking=none", until=m) for m in moments(folder)]
    assert searches.run(folder, "tracking=none") == 0, (folder / "said").read_text()
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


def test_two_workers_one_of_them_killed_finish_one_study(searches, whole, folder):
    shutil.copytree(whole / "outputs" / "cache", folder / "outputs" / "cache")
    kept = Kept(folder)
    survivor = searches.start(folder, "tracking=none")
    victim = searches.run(folder, "tracking=none", until=lambda: kept.complete() > 4)
    assert (victim, searches.code(survivor)) == (-signal.SIGKILL, 0), (folder / "said").read_text()
    assert searches.run(folder, "tracking=none") == 0
    assert len(kept.sequence()) == kept.complete() == TRIALS
    assert set(kept.controls().values()) == {1}
    _, trials = kept.trials()
    assert not [t for t in trials if t.state == TrialState.RUNNING]


def test_ctrl_c_leaves_a_study_that_goes_on_and_says_how(searches, whole, folder):
    shutil.copytree(whole / "outputs" / "cache", folder / "outputs" / "cache")
    kept = Kept(folder)
    for count, delay in ((2, 0.0), (4, 0.005), (6, 0.011), (8, 0.017), (10, 0.023)):
        reached = once(lambda count=count: kept.complete() > count, delay)
        code = searches.run(folder, "tracking=none", until=reached, by=signal.SIGINT)
        said = " ".join((folder / "said").read_text().split())
        assert code == 130, said
        assert "nothing measured is lost. To go on, give the same command again" in said
        assert f"(study {NAME} in outputs)" in said
        assert "Traceback" not in said
        _, trials = kept.trials()
        assert not [t for t in trials if t.state == TrialState.RUNNING]
    assert searches.run(folder, "tracking=none") == 0
    assert kept.sequence() == Kept(whole).sequence()


@pytest.mark.parametrize("seconds", [0.1, 0.5, 0.9])
def test_ctrl_c_while_libraries_load_is_no_traceback(folder, environment, seconds):
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"print('up', flush=True)\n{MERIT_OPT}",
            "search",
            *SMALL,
            "tracking=none",
        ],
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
def tracked(folder: Path, empty_mlflow: Path) -> Path:
    """The folder with an empty MLflow database."""
    (folder / "outputs").mkdir()
    shutil.copy(empty_mlflow, folder / "outputs")
    return folder


def test_mlflow_has_each_trial_of_a_killed_search_once(searches, whole, tracked):
    shutil.copytree(whole / "outputs" / "cache", tracked / "outputs" / "cache")
    kept = Kept(tracked)
    for count, delay in ((2, 0.03), (9, 0.11)):
        reached = once(lambda count=count: kept.complete() > count, delay)
        code = searches.run(tracked, "tracking=mlflow", until=reached)
        assert code == -signal.SIGKILL, (tracked / "said").read_text()
    assert searches.run(tracked, "tracking=mlflow") == 0, (tracked / "said").read_text()
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
