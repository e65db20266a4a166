import math
from dataclasses import replace

import pytest

from merit_opt.recipe.constructors import attention, base, full, uniform
from merit_opt.tracking import rows
from merit_opt.tracking.record import Standing, StudyRecord, TrialRecord

STUDY = StudyRecord("tiny-clips", "f00d", {}, "")


def told(number: int, value: float | None = 0.5, **changes: object) -> TrialRecord:
    fields: dict[str, object] = {
        "state": "COMPLETE",
        "role": "trial",
        "name": "",
        "recipe": attention(12, {3: 0.25, 5: 0.75}),
        "metrics": {"TR": 0.9, "TP": 0.95},
        "seconds": {"total": 1.5},
        "cost": {},
    }
    return TrialRecord(number=number, value=value, **{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("trial", "name"),
    [
        (told(42, 0.7131), "t0042 0.713 2L"),
        (told(12345, -0.02), "t12345 -0.020 2L"),
        (told(7, 0.12, role="control", name="uniform:0.5"), "uniform:0.5 0.120"),
        (told(8, None, state="FAIL", why="out of memory"), "t0008 FAIL"),
        (told(9, 0.4, state="PRUNED"), "t0009 PRUNED"),
    ],
)
def test_a_run_name_says_what_came_of_a_trial(trial: TrialRecord, name: str) -> None:
    assert rows.run_name(trial) == name


def test_a_study_of_a_sweep_is_told_apart_by_the_start_of_its_name() -> None:
    params = {"pair": "tiny", "suite": "clips", "space": "merit", "sampler": "tpe", "seed": "3"}
    named = StudyRecord("tiny-clips-merit-tpe-s3", "f00d", params, "")
    assert rows.study_name(named) == "s3 tpe merit clips tiny"
    assert rows.study_name(replace(named, name="mine")) == "mine"


def test_params_begin_with_a_summary_and_list_every_layer() -> None:
    params = rows.params(attention(12, {3: 0.25, 5: 0.75}))
    assert sorted(params)[:3] == ["00_mean_coefficient", "00_mean_depth", "00_n_layers"]
    assert params["00_n_layers"] == "2"
    assert params["00_mean_coefficient"] == "0.5000"
    assert float(params["00_mean_depth"]) == pytest.approx((3 * 0.25 + 5 * 0.75) / 11, abs=1e-4)
    layers = [name for name in params if name.startswith("L")]
    assert layers == sorted(layers) == [f"L{i:02d}.attention" for i in range(12)]
    assert (params["L03.attention"], params["L04.attention"]) == ("0.25", "0")


def test_all_recipes_share_their_attention_params() -> None:
    shared = set(rows.params(base(9)))
    assert shared == set(rows.params(uniform(9, 1.0)))
    assert set(rows.params(full(9, 0.5))) - shared == {
        f"L{i:02d}.{part}" for i in range(9) for part in ("mlp", "norm")
    }


def test_param_names_sort_by_layer_beyond_a_hundred() -> None:
    assert "L007.attention" in rows.params(base(101))


def test_numbers_that_a_table_cannot_sort_are_left_out() -> None:
    trial = told(1, math.inf, metrics={"TR": math.nan, "TP": 0.5}, seconds={"total": -math.inf})
    assert rows.metrics(trial) == {"TP": 0.5}


def test_a_failed_trial_has_no_score_whatever_it_is_given() -> None:
    trial = told(1, 0.9, state="FAIL", metrics={"TR": 0.9}, why="NaN logits in layer 3")
    assert rows.metrics(trial) == {"seconds/total": 1.5}
    assert rows.tags(STUDY, trial)["why"] == "NaN logits in layer 3"
    assert "NaN logits in layer 3" in rows.note(trial).splitlines()[0]
    assert [point.curve for point in rows.points(trial, None, 0)] == ["trial_seconds"]


def test_a_pruned_trial_does_not_rank_among_the_told() -> None:
    trial = told(1, 0.9, state="PRUNED")
    assert "value" not in rows.metrics(trial)
    assert [point.curve for point in rows.points(trial, None, 0)] == ["trial_seconds"]


def test_controls_have_a_curve_of_their_own() -> None:
    control = told(3, 0.9, role="control", name="base")
    drawn = {(p.curve, p.step, p.value) for p in rows.points(control, None, 0)}
    assert drawn == {("control_value", 3, 0.9), ("trial_seconds", 3, 1.5)}


def test_a_point_never_moves() -> None:
    trial, first, last = told(3, 0.4), told(1, 0.9), told(7, 0.2)
    points = rows.points(trial, Standing(last, first), 1000)
    assert points == rows.points(trial, Standing(last, first), 1000)
    assert {(p.curve, p.step, p.value, p.when) for p in points} == {
        ("trial_seconds", 3, 1.5, 1003),
        ("value", 3, 0.4, 1003),
        ("best_value", 7, 0.9, 1007),
    }


def test_the_note_of_a_running_study_begins_with_its_best() -> None:
    first = rows.progress_note(told(4, 0.61)).splitlines()[0]
    assert first.startswith("best so far: **t0004 0.610 2L**")
    assert "TR **0.900**" in first


def test_what_cost_nothing_and_what_misses_a_constraint_can_be_found() -> None:
    assert not {"cached", "infeasible"} & rows.tags(STUDY, told(1)).keys()
    assert rows.tags(STUDY, told(1, cached=True))["cached"] == "true"
    assert rows.tags(STUDY, told(1, feasible=False))["infeasible"] == "true"


def test_what_a_part_of_the_search_proposed_can_be_found_by_it() -> None:
    assert "phase" not in rows.tags(STUDY, told(1))
    assert rows.tags(STUDY, told(1, phase="peel"))["phase"] == "peel"


def test_a_trial_that_misses_a_constraint_never_leads() -> None:
    trial = told(3, 0.9, feasible=False)
    drawn = {(p.curve, p.step, p.value) for p in rows.points(trial, None, 0)}
    assert drawn == {("infeasible_value", 3, 0.9), ("trial_seconds", 3, 1.5)}


def test_of_two_gains_each_is_a_column() -> None:
    found = rows.metrics(told(1, 0.5, values=(0.7, -0.2)))
    assert (found["value"], found["value_1"], found["value_2"]) == (0.5, 0.7, -0.2)
    assert "value_1" not in rows.metrics(told(1, 0.5, values=(0.5,)))
