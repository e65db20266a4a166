"""What optuna-dashboard finds of a study, in every kind of storage."""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage
from optuna_dashboard import get_note
from optuna_dashboard._note import get_note_from_system_attrs
from optuna_dashboard._storage_url import get_storage
from optuna_dashboard.artifact._backend import list_trial_artifacts

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import from_json
from merit_opt.search import dashboard
from merit_opt.search.dashboard import Dashboard, command, require_installed
from merit_opt.search.trial import record_of
from tests.storages import STORAGES, new_place, opened
from tests.unit.search.conftest import ORIGIN


@pytest.fixture(params=STORAGES)
def noted(request: pytest.FixtureRequest, world):
    """A world whose study is made with a dashboard."""
    kind = request.param
    world.storage = opened(kind, new_place(kind, world.folder / f"merit.{kind}", request))
    world.dashboard = world.folder / "dashboard_artifacts"
    yield world
    world.storage.close()


def notes(world) -> dict[int, str]:
    study = world.study()
    attrs = world.storage.get_study_system_attrs(study._study_id)
    return {t.number: get_note_from_system_attrs(attrs, t._trial_id)["body"] for t in study.trials}


def files(world) -> dict[int, dict[str, bytes]]:
    """What optuna-dashboard lists for each trial, as it reads it."""
    study = world.study()
    attrs = world.storage.get_study_system_attrs(study._study_id)
    return {
        trial.number: {
            meta["filename"]: (world.dashboard / meta["artifact_id"]).read_bytes()
            for meta in list_trial_artifacts(attrs, trial.system_attrs, trial)
        }
        for trial in study.trials
    }


def test_every_told_trial_has_a_note_its_recipe_and_a_picture(noted) -> None:
    result = noted.run(9)
    told = {r.number: r for r in noted.told.trials}
    first_lines = {number: note.splitlines()[0] for number, note in notes(noted).items()}
    assert all(f"TR **{r.metrics['TR']:.3f}**" in first_lines[n] for n, r in told.items())
    assert notes(noted)[0].endswith("control `base`")
    for number, found in files(noted).items():
        assert found.keys() == {"layers.png", "recipe.json"}
        assert found["layers.png"].startswith(b"\x89PNG")
        assert from_json(found["recipe.json"].decode()) == told[number].recipe
        assert json.loads(found["recipe.json"])["pair"] == ORIGIN.to_dict()
    assert f"TR {result['confirm']['best']['TR']:.3f}" in get_note(noted.study()).splitlines()[0]


def test_its_own_pages_serve_what_was_written(noted) -> None:
    noted.run(9)
    store = FileSystemArtifactStore(noted.dashboard)
    app = optuna_dashboard.wsgi(noted.storage, artifact_store=store)
    study = noted.study()
    page = json.loads(served(app, f"/api/studies/{study._study_id}"))
    assert page["note"]["body"] == get_note(study)
    for trial in page["trials"]:
        assert trial["note"]["body"] == notes(noted)[trial["number"]]
        paths = {
            one[
                "filename"
            ]: f"/artifacts/{study._study_id}/{trial['trial_id']}/{one['artifact_id']}"
            for one in trial["artifacts"]
        }
        assert {name: served(app, path) for name, path in paths.items()} == files(noted)[
            trial["number"]
        ]


def served(app, path: str) -> bytes:
    environ: dict[str, object] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    said: list[str] = []
    body = app(environ, lambda status, headers, error=None: said.append(status))
    try:
        found = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    assert said == ["200 OK"]
    return found


def test_told_twice_is_written_once(noted) -> None:
    noted.run(9)
    board = Dashboard(noted.study(), noted.storage, noted.dashboard, ORIGIN)
    before = notes(noted), files(noted), sorted(noted.dashboard.iterdir())
    for trial in noted.study().trials:
        board.keep(record_of(trial))
    assert (notes(noted), files(noted), sorted(noted.dashboard.iterdir())) == before


def test_the_next_start_writes_what_is_missing_and_leaves_what_users_wrote(noted) -> None:
    noted.dashboard, folder = None, noted.dashboard
    noted.run(9)
    assert set(notes(noted).values()) == {""}
    noted.dashboard = folder
    study = noted.study()
    own = {
        f"dashboard:{study.trials[3]._trial_id}:note_{k}": v
        for k, v in {"ver": 1, "str:0": "mine"}.items()
    }
    for key, value in own.items():
        noted.storage.set_study_system_attr(study._study_id, key, value)
    noted.run(9)
    assert notes(noted)[3] == "mine"
    assert all(note for note in notes(noted).values())
    assert {n for n, found in files(noted).items() if found} == set(range(9)) - {3}


def test_a_failed_trial_says_why_however_long_the_reason(noted, failing) -> None:
    noted.engine.before = failing({4})
    noted.run(9)
    [failed] = [r for r in noted.told.trials if r.state == "FAIL"]
    assert notes(noted)[failed.number].startswith(f"**failed**: {failed.why}")


def test_a_folder_that_cannot_be_written_is_told_once_and_the_study_goes_on(world) -> None:
    world.dashboard = world.folder / "taken"
    world.dashboard.write_text("a file where a folder should be")
    result = world.run(9)
    assert result["trials"]["complete"] == 9
    [warning] = world.told.warnings
    assert f"cannot write {world.dashboard}" in warning


def test_without_the_extra_it_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'merit-opt\[dashboard\]'"):
        require_installed()


def test_the_command_can_be_typed_as_it_is() -> None:
    typed = command("sqlite:///my outputs/merit.db", Path("my outputs/dashboard_artifacts"))
    code = "import shlex, sys, json; print(json.dumps(shlex.split(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, typed], capture_output=True, check=True)
    assert json.loads(done.stdout)[1:] == [
        "sqlite:///my outputs/merit.db",
        "--artifact-dir",
        "my outputs/dashboard_artifacts",
    ]


@pytest.mark.parametrize("kind", STORAGES)
def test_the_command_leads_to_the_studies_of_every_kind_of_storage(
    request: pytest.FixtureRequest, world, kind: str, monkeypatch
) -> None:
    monkeypatch.chdir(world.folder)
    place = new_place(kind, Path("redis outputs") / f"merit.{kind}", request)
    world.storage = opened(kind, place)
    world.study()
    address = f"sqlite:///{place}" if kind == "sqlite" else place
    _, *words = shlex.split(command(address, Path("dashboard_artifacts")))
    parser = argparse.ArgumentParser()
    parser.add_argument("storage")
    parser.add_argument("--storage-class")
    given, _ = parser.parse_known_args(words)
    found = get_storage(given.storage, given.storage_class)
    assert optuna.get_all_study_names(found) == ["s"]
    if isinstance(found, RDBStorage):
        found.remove_session()
        found.engine.dispose()
    world.storage.close()
