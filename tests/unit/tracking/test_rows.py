import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.recipe.constructors import attention, base, full, uniform
from merit_opt.tracking import rows
from merit_opt.tracking.record import StudyRecord, TrialRecord

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
    assert rows.points(trial, []) == ()


def test_a_pruned_trial_does_not_rank_among_the_told() -> None:
    trial = told(1, 0.9, state="PRUNED")
    assert "value" not in rows.metrics(trial)
    assert rows.points(trial, []) == ()
    assert not rows.is_best(trial, [])


def test_controls_have_a_curve_of_their_own() -> None:
    control = told(3, 0.9, role="control", name="base")
    assert rows.points(control, [(1, 0.2)]) == (("control_value", 3, 0.9),)
    assert not rows.is_best(control, [(1, 0.2)])


def curves(order: list[tuple[int, float]]) -> tuple[dict[int, float], list[tuple[int, float]]]:
    objective: dict[int, float] = {}
    best: list[tuple[int, float]] = []
    for number, value in order:
        for name, step, point in rows.points(told(number, value), objective.items()):
            if name == "value":
                objective[step] = point
            else:
                best.append((step, point))
    return objective, best


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5))
def test_in_any_order_the_best_curve_rises_to_the_best_value(values: list[float]) -> None:
    numbered = list(enumerate(values))
    for order in map(list, permutations(numbered)):
        objective, best = curves(order)
        assert objective == dict(numbered)
        assert best == sorted(best)
        assert [value for _, value in best] == sorted(value for _, value in best)
        assert best[-1] == (max(objective), max(values))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6))
def test_a_trial_told_again_adds_no_point(values: list[float]) -> None:
    numbered = list(enumerate(values))
    assert curves(numbered + numbered[::-1]) == curves(numbered)


def test_the_note_of_a_running_study_begins_with_its_best() -> None:
    first = rows.progress_note(told(4, 0.61)).splitlines()[0]
    assert first.startswith("best so far: **t0004 0.610 2L**")
    assert "TR **0.900**" in first


def test_what_cost_nothing_and_what_misses_a_constraint_can_be_found() -> None:
    assert not {"cached", "infeasible"} & rows.tags(STUDY, told(1)).keys()
    assert rows.tags(STUDY, told(1, cached=True))["cached"] == "true"
    assert rows.tags(STUDY, told(1, feasible=False))["infeasible"] == "true"


def test_a_trial_that_misses_a_constraint_never_leads() -> None:
    trial = told(3, 0.9, feasible=False)
    assert rows.points(trial, [(1, 0.2)]) == (("infeasible_value", 3, 0.9),)
    assert not rows.is_best(trial, [(1, 0.2)])


def test_of_two_gains_each_is_a_column() -> None:
    found = rows.metrics(told(1, 0.5, values=(0.7, -0.2)))
    assert (found["value"], found["value_1"], found["value_2"]) == (0.5, 0.7, -0.2)
    assert "value_1" not in rows.metrics(told(1, 0.5, values=(0.5,)))
