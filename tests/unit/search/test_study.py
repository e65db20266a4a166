"""A study from its first trial to its result, stopped and resumed, without a model."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState

from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.samples_file import read_samples
from merit_opt.recipe.store import read_recipe
from merit_opt.search.conclusion import SAMPLES
from merit_opt.search.controls import RANDOM_LAYERS
from merit_opt.search.leases import LEASE
from merit_opt.search.samplers import proposal_index
from merit_opt.search.storage.sqlite import open_sqlite
from merit_opt.search.trial import best, record_of

ROLES = {"TR", "TP"}

HOLDER = """
import json, time
from dataclasses import asdict
from merit_opt.search.processes import this_process
print(json.dumps(asdict(this_process())), flush=True)
time.sleep(300)
"""


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def sequence(world) -> dict[int, tuple[dict[str, float], float]]:
    """Index of a proposal or control -> its parameters and value."""
    study = world.study()
    return {
        proposal_index(study, t): (t.params, t.value)
        for t in study.trials
        if t.state == TrialState.COMPLETE
    }


@pytest.fixture(scope="module")
def shape() -> dict[str, Any]:
    """The shape of result.json as DESIGN.md section 6 gives it."""
    difference = {"estimate": float, "low": float, "high": float, "p": float}
    scores = {"TR": float, "TP": float}
    return {
        "schema": int,
        "study": str,
        "fingerprint": str,
        "seed": int,
        "seconds": float,
        "trials": {"complete": int, "pruned": int, "failed": int, "cached": int},
        "base": scores,
        "best": {"number": int, "digest": str, **scores, "objective": float, "layers": dict},
        "confirm": {
            "n": {"TR": int, "TP": int},
            "base": scores,
            "best": {**scores, "objective": float},
            "difference": {"TR": difference, "TP": difference},
            "controls": list,
        },
    }


def misfits(value: Any, shape: Any, path: str = "") -> Iterator[str]:
    if not isinstance(shape, dict):
        if type(value) is not shape:
            yield f"{path}: {value!r} is no {shape.__name__}"
        return
    for key, inner in shape.items():
        if key not in value:
            yield f"{path}/{key} is missing"
        else:
            yield from misfits(value[key], inner, f"{path}/{key}")


def test_result_json_has_the_documented_shape(world, shape):
    result = world.run(20)
    path = world.folder / "studies" / "s" / "result.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(result))
    assert list(misfits(result, shape)) == []
    control = {"name": str, "TR": float, "TP": float, "objective": float}
    assert [p for c in result["confirm"]["controls"] for p in misfits(c, control)] == []
    assert all(map(math.isfinite, numbers(result)))
    assert (result["schema"], result["study"], result["seed"]) == (1, "s", 0)
    assert result["trials"] == {"complete": 20, "pruned": 0, "failed": 0, "cached": 2}


def test_the_result_is_the_winner_s(world):
    result = world.run(20)
    winner = best(world.study())
    assert result["best"]["number"] == winner.number
    assert result["best"]["digest"] == winner.recipe.digest
    assert {int(k): v for k, v in result["best"]["layers"].items()} == (
        winner.recipe.coefficients()
    )
    assert read_recipe(world.folder / "studies/s/recipes/best.json") == winner.recipe
    n = result["confirm"]["n"]
    roles = [world.split.confirm.role(s) for s in world.split.confirm.samples]
    assert n == {role: roles.count(role) for role in ROLES}


@pytest.mark.parametrize("score", ["accuracy", "probability", "log_probability"])
def test_the_final_comparison_is_in_accuracy_whatever_was_searched(world, score):
    world.objective = replace(world.objective, score=score)
    result = world.run(9)
    confirm = world.split.confirm
    evaluation = world.engine.evaluate(best(world.study()).recipe, confirm)
    value = {i: s.value for i, s in zip(evaluation.ids, evaluation.scores, strict=True)}
    for role in ROLES:
        found = [value[s.id] for s in confirm.samples if confirm.role(s) == role]
        assert result["confirm"]["best"][role] == pytest.approx(sum(found) / len(found))


def test_every_control_but_the_base_is_compared_on_confirm(world):
    result = world.run(20)
    assert [c["name"] for c in result["confirm"]["controls"]] == [
        "backbone",
        "uniform:0.25",
        "uniform:0.5",
        "full:0.25",
        "full:0.5",
        *(f"{RANDOM_LAYERS}/{i}" for i in range(1, 6)),
    ]


def test_every_recipe_on_confirm_leaves_its_answers_to_every_question(world):
    confirm = world.run(20)["confirm"]
    mean: dict[str, dict[str, float]] = {}
    for name in SAMPLES:
        rows = read_samples(world.folder / "studies" / "s" / name)
        for digest in dict.fromkeys(row["recipe"] for row in rows):
            own = [row for row in rows if row["recipe"] == digest]
            assert [row["sample"] for row in own] == [s.id for s in world.split.confirm.samples]
            values = {r: [row["value"] for row in own if row["role"] == r] for r in ROLES}
            mean[digest] = {role: sum(v) / len(v) for role, v in values.items()}
    assert {c["digest"] for c in confirm["controls"]} <= mean.keys()
    for control in confirm["controls"]:
        assert mean[control["digest"]] == pytest.approx({r: control[r] for r in ROLES})


def test_random_layer_controls_match_the_winner(world):
    result = world.run(20)
    own = {int(k): v for k, v in result["best"]["layers"].items()}
    drawn = [r.recipe for r in world.told.trials if r.name.startswith(RANDOM_LAYERS)]
    assert len({r.digest for r in drawn}) == 5
    assert {tuple(sorted(r.coefficients().values())) for r in drawn} == {
        tuple(sorted(own.values()))
    }
    assert all(set(r.coefficients()) != set(own) for r in drawn)


def test_the_search_never_sees_a_confirm_sample(world):
    world.run(20)
    search, confirm = world.split.search, world.split.confirm
    assert {s.group_id for s in search.samples}.isdisjoint(s.group_id for s in confirm.samples)
    suites = [suite.digest for _, suite in world.engine.asked]
    conclusion = suites.index(confirm.digest)
    assert conclusion == 1 + 20
    assert set(suites[:conclusion]) == {search.digest}
    assert set(suites[conclusion:]) == {confirm.digest}
    seen = {s.id for _, suite in world.engine.asked[:conclusion] for s in suite.samples}
    assert seen.isdisjoint(s.id for s in confirm.samples)


def test_a_study_at_its_count_gives_its_result_and_measures_nothing(world):
    first = world.run(9)
    asked, made = len(world.engine.asked), world.engine.made
    assert world.run(9) == json.loads(json.dumps(first))
    assert world.run(5) == json.loads(json.dumps(first))
    assert (len(world.engine.asked), world.engine.made) == (asked, made)


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", '{"fingerprint": "f"}', '{"fingerprint": 1, "trials": null}']
)
def test_a_result_that_was_torn_is_written_again(world, text):
    first = world.run(9)
    path = world.folder / "studies" / "s" / "result.json"
    path.write_text(text)
    again = world.run(9)
    assert again | {"seconds": 0} == first | {"seconds": 0}
    assert json.loads(path.read_text())["best"] == first["best"]
    assert len(world.study().trials) == 9


def test_other_settings_are_refused_before_anything_is_measured(world):
    world.run(9)
    asked, told = len(world.engine.asked), len(world.study().trials)
    with pytest.raises(UserError, match="  space: the study has s, this run has other"):
        world.run(20, parts={"pair": "p", "space": "other"})
    assert (len(world.engine.asked), len(world.study().trials)) == (asked, told)


@pytest.mark.parametrize("stop", [3, 8, 15, 24])
def test_a_study_stopped_anywhere_equals_an_uninterrupted_one(world, tmp_path, split, stop):
    whole = type(world)(tmp_path / "whole", split)
    expected = whole.run(25)

    def interrupt(recipe, count):
        if count == stop + 1:
            raise KeyboardInterrupt

    world.engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.run(25)
    world.engine.before = lambda recipe, count: None
    result = world.run(25)
    assert sequence(world) == sequence(whole)
    assert result["trials"] == expected["trials"] | {"failed": 1}
    assert expected["trials"]["complete"] == 25
    assert result["best"] | {"number": 0} == expected["best"] | {"number": 0}
    for outcome in (result, expected):
        outcome["confirm"]["controls"].sort(key=lambda control: control["name"])
        for one in outcome["confirm"]["top"]:
            one["number"] = 0
    assert result["confirm"] == expected["confirm"]


def test_a_study_stopped_during_the_final_comparison_repeats_no_trial(world):
    def interrupt(recipe, count):
        if count == 1 + 20 + 4:
            raise KeyboardInterrupt

    world.engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.run(20)
    world.engine.before = lambda recipe, count: None
    told = len(world.told.trials)
    result = world.run(20)
    assert len(world.told.trials) == told == 20
    assert result["trials"] == {"complete": 20, "pruned": 0, "failed": 0, "cached": 2}


def test_an_sqlite_study_killed_in_the_middle_of_a_trial_goes_on(world, tmp_path, split):
    whole = type(world)(tmp_path / "whole", split)
    whole.run(12)
    world.storage = open_sqlite(url=f"sqlite:///{tmp_path}/merit.db", patience=0.0, grace=60.0)
    study = world.study()
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    holder = json.loads(process.stdout.readline())

    def killed(recipe, count):
        if count == 1 + 10:
            running = world.study().trials[-1]
            sign = {"id": "other", "beat": 0, "time": "", **holder}
            world.storage.set_trial_user_attr(running._trial_id, LEASE, sign)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            raise SystemExit

    world.engine.before = killed
    with pytest.raises(SystemExit):
        world.run(12)
    assert [t.state.name for t in study.trials].count("RUNNING") == 1
    world.engine.before = lambda recipe, count: None
    world.run(12)
    assert sequence(world) == sequence(whole)
    world.storage.close()


def test_a_study_whose_base_cannot_be_measured_says_why(world, failing):
    world.engine.before = failing({1})
    with pytest.raises(TrialFailed, match="out of memory at 1"):
        world.run(9)


def test_a_study_without_time_for_its_base_says_so(world):
    with pytest.raises(UserError, match="no finished trial of the base yet; give it more"):
        world.run(9, hours=1e-9)
    assert world.run(9)["trials"]["complete"] == 9


def test_a_control_that_fails_on_confirm_is_named_and_the_rest_compared(world, failing):
    world.engine.before = failing({1 + 12 + 3})
    result = world.run(12)
    assert result["confirm"]["failed"] == {"backbone": "out of memory at 16"}
    assert "backbone" not in [c["name"] for c in result["confirm"]["controls"]]


def test_two_studies_of_one_name_have_two_identities(world, tmp_path, split):
    world.run(3)
    other = type(world)(tmp_path / "other", split)
    other.run(3)
    assert world.study().user_attrs["uid"] != other.study().user_attrs["uid"]


def test_a_result_without_random_layers_says_so(world):
    world.objective = type(world.objective)("probability", 50.0)
    result = world.run(9, random_layers=0)
    assert result["confirm"]["random_layers"] is None
    assert all(RANDOM_LAYERS not in c["name"] for c in result["confirm"]["controls"])


def test_the_record_of_a_finished_study_is_all_there(world):
    world.run(9)
    records = [record_of(t) for t in world.study().trials]
    assert [r.number for r in records] == list(range(9))
    assert (world.folder / "studies/s/config.yaml").read_text() == "seed: 0\n"
