"""Files that are kept with a study which nobody runs."""

from pathlib import Path

from merit_opt.tracking.record import StudyOutcome, StudyRecord, Tracker
from tests.tracked import STUDY, TRIALS, keep


def test_files_are_attached_to_the_study_without_a_start(
    mlflow: Tracker, open_mlflow, seen, tmp_path: Path
) -> None:
    keep(mlflow, *TRIALS)
    mlflow.finish(StudyOutcome("**0.5**", {"confirm.TR": 0.9}, ()))
    before = seen().parent()
    page = tmp_path / "report.html"
    for words in ("<p>one", "<p>two"):
        page.write_text(words)
        bare = StudyRecord(STUDY.name, STUDY.fingerprint, {}, "", uid=STUDY.uid)
        assert open_mlflow().attach(bare, [page], "report")
    after = seen().parent()
    assert seen().file(after, "report/report.html").read_text() == "<p>two"
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.info.end_time)
    assert after.data.to_dictionary() == before.data.to_dictionary()


def test_nothing_is_attached_to_another_study_of_the_name(mlflow: Tracker, tmp_path: Path) -> None:
    other = StudyRecord(STUDY.name, STUDY.fingerprint, {}, "", uid="u2")
    assert not mlflow.attach(other, [], "report")


def test_attaching_makes_no_database(tmp_path: Path) -> None:
    from merit_opt.tracking.mlflow import MlflowTracker

    uri = f"sqlite:///{tmp_path}/none.db"
    tracker = MlflowTracker(uri=uri, artifacts=None, experiment="merit_opt", patience=0.0)
    assert not tracker.attach(STUDY, [], "report")
    assert not (tmp_path / "none.db").exists()
