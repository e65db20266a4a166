import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import attention, base, uniform
from merit_opt.recipe.origin import Named, Origin
from merit_opt.recipe.recipe import from_json
from merit_opt.recipe.store import read_origin, read_recipe
from merit_opt.search.tracked import standing
from merit_opt.tracking.record import (
    NoTracker,
    StudyOutcome,
    StudyRecord,
    Tracker,
    TrackingUnavailable,
    TrialRecord,
)

ORIGIN = Origin(Named("vlm", "a1"), Named("text", "b2"))
STUDY = StudyRecord(
    "tiny-clips", "f00d", {"pair": "tiny", "trials": "6"}, "seed: 0\n", uid="u1", origin=ORIGIN
)
TOLD_AT = datetime(2026, 1, 2, 3, 4, 5)


def trial(number: int, value: float | None = 0.5, **changes: object) -> TrialRecord:
    fields: dict[str, object] = {
        "state": "COMPLETE",
        "role": "trial",
        "name": "",
        "recipe": attention(9, {number % 9: 0.5}),
        "metrics": {"TR": 0.9, "TP": 0.95},
        "seconds": {"total": 1.5},
        "cost": {},
        "finished": TOLD_AT,
    }
    return TrialRecord(number=number, value=value, **{**fields, **changes})  # type: ignore[arg-type]


TRIALS = (
    trial(0, 0.0, role="control", name="base", recipe=base(9)),
    trial(1, 0.2, role="control", name="uniform:0.5", recipe=uniform(9, 0.5)),
    trial(2, 0.31),
    trial(3, None, state="FAIL", metrics={}, why="out of memory"),
    trial(4, 0.47),
    trial(5, 0.4, state="PRUNED"),
)


@pytest.fixture
def patient_mlflow(folder: Path) -> Tracker:
    from merit_opt.tracking.mlflow import MlflowTracker

    uri = f"sqlite:///{folder}/mlflow.db"
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="merit_opt", patience=20.0)
    tracker.start(STUDY)
    return tracker


@pytest.fixture(params=["none", "mlflow"])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    if request.param == "none":
        return NoTracker()
    return request.getfixturevalue("open_mlflow")()


@pytest.fixture
def mlflow(open_mlflow: Callable[[], Tracker]) -> Tracker:
    tracker = open_mlflow()
    tracker.start(STUDY)
    return tracker


def keep(tracker: Tracker, *told: TrialRecord) -> None:
    """What a study does with trials that are told in this order."""
    for i, one in enumerate(told, start=1):
        tracker.log_trial(one, standing(told[:i]))


# Every tracker.


def test_a_kept_trial_is_not_missing(tracker: Tracker) -> None:
    tracker.start(STUDY)
    keep(tracker, TRIALS[2])
    assert 2 not in tracker.missing([1, 2])


def test_every_call_may_be_repeated(tracker: Tracker, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text("{}")
    for _ in range(2):
        tracker.start(STUDY)
        keep(tracker, *TRIALS)
        assert tracker.missing(range(len(TRIALS))) == set()
        tracker.log_leader(TRIALS[4])
        tracker.log_numbers({"prior.trials": 2.0})
        tracker.finish(StudyOutcome("**0.5**", {"confirm.TR": 0.9}, (result,)))


def test_only_what_is_asked_for_can_be_missing(tracker: Tracker) -> None:
    tracker.start(STUDY)
    assert tracker.missing([]) == set()
    assert tracker.missing([7]) <= {7}


def test_an_unknown_study_is_given_no_files(tracker: Tracker, tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    file.write_bytes(b"rows")
    assert tracker.attach(STUDY, "attribution/abc", [file]) is False


# MLflow.


def test_files_are_attached_to_a_study_and_change_nothing_else(
    mlflow: Tracker, open_mlflow, seen, tmp_path: Path
) -> None:
    file = tmp_path / "table.parquet"
    keep(mlflow, TRIALS[2])
    mlflow.finish(StudyOutcome("**0.31**", {}, ()))
    before = seen().parent()
    reader = StudyRecord(STUDY.name, STUDY.fingerprint, {}, "", uid=STUDY.uid)
    for text in (b"rows", b"more"):
        file.write_bytes(text)
        assert open_mlflow().attach(reader, "attribution/abc", [file]) is True
        kept = seen().file(seen().parent(), "attribution/abc/table.parquet")
        assert kept.read_bytes() == text
    after = seen().parent()
    assert (after.info.status, after.data.to_dictionary()) == (
        before.info.status,
        before.data.to_dictionary(),
    )


def test_files_of_a_study_of_an_old_name_stay_its_own(mlflow: Tracker, tmp_path: Path) -> None:
    other = StudyRecord(STUDY.name, STUDY.fingerprint, {}, "", uid="u2")
    assert mlflow.attach(other, "attribution/abc", [tmp_path]) is False


def test_a_trial_logged_twice_has_one_finished_run(mlflow: Tracker, seen) -> None:
    keep(mlflow, TRIALS[4])
    keep(mlflow, TRIALS[4])
    run = seen().child(4)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "t0004 0.470 1L")
    assert run.data.metrics == {"value": 0.47, "TR": 0.9, "TP": 0.95, "seconds/total": 1.5}
    tags = {"study", "optuna_trial", "recipe_digest", "state", "role", "mlflow.parentRunId"}
    assert tags <= set(run.data.tags)
    assert run.info.end_time == int(TOLD_AT.timestamp() * 1000)
    assert run.info.end_time - run.info.start_time == 1500
    assert seen().curve("value") == [(4, 0.47)]


def test_a_trial_leaves_its_recipe_and_picture(mlflow: Tracker, seen) -> None:
    keep(mlflow, TRIALS[2])
    mlflow.log_leader(TRIALS[2])
    run = seen().child(2)
    own = seen().file(run, "recipe.json")
    assert (read_recipe(own), read_origin(own)) == (TRIALS[2].recipe, ORIGIN)
    assert seen().file(run, "layers.png").read_bytes().startswith(b"\x89PNG")
    best = seen().file(seen().parent(), "best/recipe.json")
    assert (read_recipe(best), read_origin(best)) == (TRIALS[2].recipe, ORIGIN)


def test_a_failed_trial_never_has_a_value(mlflow: Tracker, seen) -> None:
    keep(mlflow, trial(3, 0.9, state="FAIL", why="NaN logits in layer 2"))
    run = seen().child(3)
    assert run.info.status == "FAILED"
    assert run.data.metrics == {"seconds/total": 1.5}
    assert run.data.tags["why"] == "NaN logits in layer 2"
    assert seen().parent().data.metrics == {"trial_seconds": 1.5}
    assert mlflow.missing([3]) == set()


def test_no_number_is_infinite(mlflow: Tracker, seen) -> None:
    keep(mlflow, trial(1, math.inf, metrics={"TR": math.nan, "TP": -math.inf}))
    mlflow.log_numbers({"prior.trials": math.inf})
    assert seen().child(1).data.metrics == {"seconds/total": 1.5}
    assert seen().parent().data.metrics == {"trial_seconds": 1.5}


@pytest.mark.parametrize(
    ("step", "call"),
    [("log_batch", 1), ("log_artifacts", 1), ("log_batch", 2), ("set_terminated", 1)],
)
def test_a_trial_that_a_kill_left_running_is_completed(
    open_mlflow, seen, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    from mlflow import MlflowClient

    killed, left = open_mlflow(), call
    killed.start(STUDY)
    work = getattr(MlflowClient, step)

    def die(*arguments: object, **named: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return work(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, die)
        with pytest.raises(KeyboardInterrupt):
            keep(killed, *TRIALS[2:])
    resumed = open_mlflow()
    resumed.start(STUDY)
    numbers = range(2, len(TRIALS))
    for number in sorted(resumed.missing(numbers)):
        resumed.log_trial(TRIALS[number], standing(TRIALS[2 : number + 1]))
    assert resumed.missing(numbers) == set()
    assert [seen().child(n).info.status for n in numbers] == [
        "FINISHED",
        "FAILED",
        "FINISHED",
        "FINISHED",
    ]
    assert seen().curve("value") == [(2, 0.31), (4, 0.47)]
    assert seen().curve("best_value") == [(2, 0.31), (4, 0.47)]
    assert all(seen().file(seen().child(n), "layers.png").exists() for n in numbers)
    assert len(seen().client.get_metric_history(seen().child(4).info.run_id, "TR")) == 1


def test_trials_may_come_in_any_order(mlflow: Tracker, seen) -> None:
    keep(mlflow, *reversed(TRIALS))
    names = [seen().child(told.number).info.run_name for told in TRIALS]
    assert names == [
        "base 0.000",
        "uniform:0.5 0.200",
        "t0002 0.310 1L",
        "t0003 FAIL",
        "t0004 0.470 1L",
        "t0005 PRUNED",
    ]
    assert sorted(seen().curve("value")) == [(2, 0.31), (4, 0.47)]
    assert sorted(seen().curve("control_value")) == [(0, 0.0), (1, 0.2)]
    assert seen().curve("best_value") == [(4, 0.47)]
    assert sorted(step for step, _ in seen().curve("trial_seconds")) == list(range(len(TRIALS)))


def test_whoever_leads_is_in_front(mlflow: Tracker, seen) -> None:
    for leader in (TRIALS[2], TRIALS[4]):
        mlflow.log_leader(leader)
    parent = seen().parent()
    assert from_json(seen().file(parent, "best/recipe.json").read_text()) == TRIALS[4].recipe
    first = parent.data.tags["mlflow.note.content"].splitlines()[0]
    assert first.startswith("best so far: **t0004 0.470 1L**")


def test_numbers_of_the_study_are_kept_once(mlflow: Tracker, seen) -> None:
    for spent in (2.0, 2.0, 3.0):
        mlflow.log_numbers({"prior.trials": spent})
    assert [value for _, value in seen().curve("prior.trials")] == [2.0, 3.0]
    assert seen().parent().data.metrics["prior.trials"] == 3.0


def test_a_curve_goes_on_where_another_worker_left_it(open_mlflow, seen) -> None:
    one, other = open_mlflow(), open_mlflow()
    one.start(STUDY)
    other.start(STUDY)
    early, late = trial(6, 0.6), trial(7, 0.3)
    other.log_trial(late, standing([late]))
    one.log_trial(early, standing([late, early]))
    repaired = open_mlflow()
    repaired.start(STUDY)
    repaired.log_trial(trial(5, 0.1), standing([trial(5, 0.1)]))
    assert sorted(seen().curve("best_value")) == [(7, 0.3), (7, 0.6)]
    assert seen().parent().data.metrics["best_value"] == 0.6
    assert sorted(seen().curve("value")) == [(5, 0.1), (6, 0.6), (7, 0.3)]


def test_a_resumed_study_keeps_its_parent_and_tags_what_changed(open_mlflow, seen) -> None:
    open_mlflow().start(STUDY)
    longer = StudyRecord("tiny-clips", "f00d", {"pair": "tiny", "trials": "9"}, "new: 1\n", "u1")
    open_mlflow().start(longer)
    parent = seen().parent()
    assert parent.data.params["trials"] == "6"
    assert parent.data.tags["trials"] == "9"
    assert seen().file(parent, "config.yaml").read_text() == "new: 1\n"


def test_a_new_study_of_an_old_name_starts_empty(mlflow: Tracker, open_mlflow) -> None:
    keep(mlflow, TRIALS[2])
    other = open_mlflow()
    other.start(StudyRecord("tiny-clips", "f00d", {}, "", uid="u2"))
    assert other.missing([2]) == {2}


def test_the_result_closes_the_study(mlflow: Tracker, seen, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text("{}")
    keep(mlflow, TRIALS[2])
    for accuracy in (0.9, 0.8, 0.8):
        numbers = {"confirm.TR": accuracy, "confirm.TP": math.nan}
        mlflow.finish(StudyOutcome("**0.31** on confirm\n\nmore", numbers, (result,)))
    parent = seen().parent()
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["mlflow.note.content"].startswith("**0.31**")
    assert parent.data.metrics["confirm.TR"] == 0.8
    assert "confirm.TP" not in parent.data.metrics
    assert len(seen().curve("confirm.TR")) == 2
    assert seen().file(parent, "result.json").read_text() == "{}"


def test_two_runs_of_one_trial_become_one(open_mlflow, mlflow: Tracker, seen) -> None:
    keep(mlflow, TRIALS[4])
    double = {**seen().child(4).data.tags, "optuna_trial": "2"}
    for start in (1, 2):
        seen().client.create_run(seen().experiment, start_time=start, tags=double)
    own = {"mlflow.parentRunId": double["mlflow.parentRunId"]}
    by_hand = seen().client.create_run(seen().experiment, tags=own)
    keep(mlflow, TRIALS[2])
    assert seen().child(2).info.status == "FINISHED"
    assert seen().client.get_run(by_hand.info.run_id).info.lifecycle_stage == "active"


@pytest.mark.parametrize("whose", ["child", "parent"])
def test_a_run_that_is_deleted_meanwhile_is_made_anew(
    patient_mlflow: Tracker, seen, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    from mlflow import MlflowClient

    log, before = MlflowClient.log_batch, seen()
    victims = [before.parent().info.run_id] if whose == "parent" else [""]

    def deleted_first(client: MlflowClient, run_id: str, **named: object) -> None:
        if victims:
            client.delete_run(victims.pop() or run_id)
        log(client, run_id, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", deleted_first)
    keep(patient_mlflow, TRIALS[2])
    own = f"tags.`mlflow.parentRunId` = '{seen().parent().info.run_id}'"
    assert [run.info.status for run in seen().runs(own)] == ["FINISHED"]
    assert seen().curve("value") == [(2, 0.31)]


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """MLflow refuses every batch until the fixture is called."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", refuse)
        yield patch.undo


def test_what_could_not_be_written_is_written_later(mlflow: Tracker, seen, outage) -> None:
    for told in TRIALS[:2]:
        with pytest.raises(TrackingUnavailable, match=r"database is locked.*written: [12]"):
            mlflow.log_trial(told, None)
    outage()
    keep(mlflow, TRIALS[2])
    assert mlflow.missing([0, 1, 2]) == set()
    assert seen().child(0).info.status == "FINISHED"


def test_a_deleted_experiment_is_not_brought_back_unasked(mlflow, open_mlflow, seen) -> None:
    seen().client.delete_experiment(seen().experiment)
    with pytest.raises(UserError, match="'merit_opt' was deleted; bring it back with"):
        open_mlflow().start(STUDY)
