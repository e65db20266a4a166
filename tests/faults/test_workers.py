"""Many workers make one study, with exactly the trials it was asked for."""

import json
import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from tests.faults.cheap_study import ASKED, ASKER, GO, READY, WORKER
from tests.faults.kept import controls, lines, measured, require_whole, said_in, wait_for
from tests.faults.nursery import Nursery
from tests.storages import STORAGES, new_place, opened

pytestmark = pytest.mark.timeout(240)

TRIALS, WORKERS = 30, 4
FIXED, RANDOM = 6, 5


@pytest.fixture(params=STORAGES)
def kind(request) -> str:
    return request.param


@pytest.fixture
def place(kind, tmp_path, request) -> str:
    return new_place(kind, tmp_path / "kept", request)


def start(nursery: Nursery, folder: Path, kind: str, place: str, seconds: float = 0.05) -> int:
    return nursery.start(folder, WORKER, kind, place, TRIALS, seconds, {})


def results(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in folder.glob("result-*.json")]


def test_four_workers_end_one_study_with_exactly_its_trials(nursery, tmp_path, kind, place):
    workers = [start(nursery, tmp_path, kind, place) for _ in range(WORKERS)]
    codes = [nursery.code(w) for w in workers]
    assert codes == [0] * WORKERS, (tmp_path / "said").read_text()
    done = require_whole(kind, place, TRIALS)
    assert len(controls(done)) == FIXED + RANDOM
    found = results(tmp_path)
    assert len(found) == WORKERS
    assert all(result == found[0] for result in found)
    assert json.loads((tmp_path / "studies/s/result.json").read_text()) == found[0]


def test_workers_that_ask_at_once_never_get_the_same_trial(nursery, tmp_path, kind, place):
    storage = opened(kind, place)
    study = optuna.create_study(storage=storage, study_name="s")
    for _ in range(TRIALS):
        study.add_trial(create_trial(state=TrialState.WAITING))
    storage.close()
    half = TRIALS // 2  # no process can take them all
    workers = [nursery.start(tmp_path, ASKER, kind, place, half) for _ in range(WORKERS)]
    wait_for(lambda: len(lines(tmp_path / READY)) == WORKERS)
    (tmp_path / GO).touch()
    assert [nursery.code(w) for w in workers] == [0] * WORKERS, (tmp_path / "said").read_text()
    assert sorted(lines(tmp_path / ASKED)) == [[number] for number in range(TRIALS)]


def test_what_killed_workers_leave_the_others_finish(nursery, tmp_path, kind, place):
    workers = [start(nursery, tmp_path, kind, place, 0.1) for _ in range(WORKERS)]
    victims = []
    for victim, after in zip(workers[:2], (8, 16), strict=True):
        code = nursery.watch(victim, lambda after=after: measured(tmp_path) > after)
        victims.append(code)
    codes = [nursery.code(w) for w in workers[2:]]
    assert (victims, codes) == ([-signal.SIGKILL] * 2, [0, 0]), (tmp_path / "said").read_text()
    done = require_whole(kind, place, TRIALS)
    assert len(controls(done)) == FIXED + RANDOM


def test_a_server_that_comes_back_is_waited_for(nursery, tmp_path, postgres):
    place = postgres.database()
    waits = {"patience": 120.0}
    workers = [
        nursery.start(tmp_path, WORKER, "postgres", place, TRIALS, 0.1, waits) for _ in range(2)
    ]
    wait_for(lambda: measured(tmp_path) > 8)
    postgres.stop()
    wait_for(lambda: "is away" in said_in(tmp_path))
    postgres.start()
    codes = [nursery.code(w) for w in workers]
    said = said_in(tmp_path)
    assert codes == [0, 0], said
    assert "the study storage postgresql://…@/" in said
    assert "is back after" in said
    require_whole("postgres", place, TRIALS)


def test_a_server_that_stays_away_ends_in_a_sentence_and_the_study_goes_on_later(
    nursery, tmp_path, postgres
):
    place = postgres.database()
    worker = nursery.start(tmp_path, WORKER, "postgres", place, TRIALS, 0.1, {"patience": 2.0})
    wait_for(lambda: measured(tmp_path) > 8)
    postgres.stop()
    try:
        code = nursery.code(worker)
    finally:
        postgres.start()
    said = (tmp_path / "said").read_text()
    assert code == 2, said
    assert "for longer than storage.patience=2 seconds; every told trial is kept" in said
    assert "Traceback" not in said
    assert nursery.code(start(nursery, tmp_path, "postgres", place)) == 0
    require_whole("postgres", place, TRIALS)
