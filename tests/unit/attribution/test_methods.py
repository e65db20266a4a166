"""Each method on the embedded pair, whose damaged layers are 3 and 5."""

import math
import re
from dataclasses import replace

import pytest

from merit_opt.attribution.effects import changes, measured
from merit_opt.attribution.gradient import Gradient
from merit_opt.attribution.leave_out import LeaveOut
from merit_opt.attribution.mask import Mask
from merit_opt.attribution.scan import Scan
from merit_opt.attribution.tables import LAYERS, SCHEMAS, SETS, write_table
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Score
from merit_opt.evaluation.masking import Masking
from merit_opt.recipe.constructors import attention, base, full, uniform
from merit_opt.recipe.intervention import Intervention
from tests.unit.attribution.conftest import RESTORED


def mask(**given):
    fields = {
        "variants": ("zero",),
        "models": ("base", "merged"),
        "parts": ("attention",),
        "head_groups": False,
        "layers": None,
        "random_sets": 0,
    }
    return Mask(**{**fields, **given})


METHODS = {
    "scan": Scan(coefficients=(1.0,), parts=("attention", "mlp"), layers=(0, 3, 5)),
    "mask": mask(variants=("zero", "revert"), layers=(3, 4)),
    "gradient": Gradient(models=("base", "merged"), parts=("attention", "mlp", "norm")),
    "leave_out": LeaveOut(add_at=0.5),
}


@pytest.mark.parametrize("name", METHODS)
def test_rows_have_every_column_and_no_other_and_fit_their_schema(name, bench, tmp_path):
    found = METHODS[name].run(bench)
    assert found.failed == {}
    for table, rows in found.tables.items():
        schema = SCHEMAS[table]
        assert all(set(row) == set(schema.names) for row in rows)
        write_table(tmp_path, table, rows)
    rows = found.tables[name]
    assert rows
    bill = METHODS[name].bill(bench.recipe, bench.anatomy, bench.suite)
    assert re.search(rf"\b{found.evaluations} models\b.*\b30 questions each", bill)
    n = {"TR": 18, "TP": 12}
    for row in rows:
        assert (row["method"], row["n"]) == (name, n[row["role"]])
        assert row["difference"] == pytest.approx(row["score"] - row["reference"])
        if row["low"] is not None:
            assert row["low"] <= row["difference"] <= row["high"]
    keys = ("variant", "model", "layer", "part", "head_group", "coefficient", "role", "unit")
    assert len({tuple(row[k] for k in keys) for row in rows}) == len(rows)


def by_layer(rows, **wanted):
    """Layer -> difference."""
    wanted = {"role": "TR", "unit": "probability", **wanted}
    return {r["layer"]: r["difference"] for r in rows if all(r[k] == v for k, v in wanted.items())}


def test_a_scan_is_single_layers_against_the_vlm(bench):
    rows = METHODS["scan"].run(bench).tables["scan"]
    first = bench.engine.evaluate(base(9), bench.suite)
    second = bench.engine.evaluate(attention(9, {3: 1.0}), bench.suite)
    expected = list(changes(first, second, suite=bench.suite, seed=0))
    own = [r for r in rows if (r["layer"], r["part"]) == (3, "attention")]
    assert [r["difference"] for r in own] == [c.difference for c in expected]
    found = by_layer(rows, part="attention")
    assert min(found[3], found[5]) > 0.1 > found[0]
    assert {r["coefficient"] for r in rows} == {1.0}


def test_a_mask_is_measured_against_the_same_model_unmasked(bench):
    rows = METHODS["mask"].run(bench).tables["mask"]
    for model, recipe in (("base", base(9)), ("merged", RESTORED)):
        zeroed = Masking(Intervention((4,), "attention", "zero"), bench.search)
        sides = (bench.engine.evaluate(recipe, bench.suite, m) for m in (None, zeroed))
        (expected, *_) = changes(*sides, suite=bench.suite, seed=0)
        found = by_layer(rows, variant="zero", model=model, unit="accuracy")
        assert found[4] == expected.difference
    # Reverting is of merged layers alone, and undoes what they gave.
    assert by_layer(rows, variant="revert").keys() == {3}
    assert by_layer(rows, variant="revert")[3] < -0.05


def test_reverting_a_layer_is_leaving_it_out(bench):
    reverted = mask(variants=("revert",)).run(bench).tables["mask"]
    dropped = LeaveOut(add_at=None).run(bench).tables["leave_out"]
    assert by_layer(reverted) == by_layer(dropped)
    assert by_layer(dropped).keys() == {3, 5}


def test_added_layers_are_those_that_the_recipe_leaves(bench):
    rows = METHODS["leave_out"].run(bench).tables["leave_out"]
    assert by_layer(rows, variant="add").keys() == {0, 1, 2, 4, 6, 7, 8}
    assert {(r["variant"], r["coefficient"]) for r in rows} == {("drop", 1.0), ("add", 0.5)}


def test_slopes_point_to_the_damaged_layers_at_the_vlm(bench):
    found = METHODS["gradient"].run(bench)
    slopes = by_layer(
        found.tables["gradient"], model="base", part="attention", unit="per coefficient"
    )
    screen = bench.engine.screen(base(9), bench.suite, ("attention",))
    expected = {i: screen.of("TR", i, ("attention",)) for i in range(9)}
    assert slopes == pytest.approx(expected)
    assert found.summary.keys() == {"base", "merged"}


def test_head_groups_are_masked_beside_the_whole_module(bench):
    found = mask(head_groups=True, layers=(3,), models=("merged",)).run(bench)
    rows = found.tables["mask"]
    assert {r["head_group"] for r in rows} == {None, 0, 1, 2, 3}
    assert found.evaluations == 6
    bill = mask(head_groups=True, layers=(3,), models=("merged",)).bill(
        bench.recipe, bench.anatomy, bench.suite
    )
    assert bill.startswith("6 models")
    # Ranks are of whole modules.
    assert all(one["order"] == [3] for one in found.summary["layers"])


def test_sets_are_compared_and_contributions_told(bench):
    found = mask(models=("base", "merged"), random_sets=20).run(bench)
    sets = found.tables["mask_sets"]
    bill = mask(random_sets=20).bill(bench.recipe, bench.anatomy, bench.suite)
    assert bill == f"{found.evaluations} models to measure, 30 questions each"
    drawn = {(r["set"], r["draw"]) for r in sets}
    assert drawn >= {("selected", 0), ("random", 19), ("unselected", 19)}
    assert {tuple(r["layers"]) for r in sets if r["set"] == "selected"} == {(3, 5)}
    against = [one for one in found.summary["sets"] if one["unit"] == "accuracy"]
    assert {one["model"] for one in against} == {"base", "merged"}
    for one in against:
        assert 1 / 21 <= one["random"]["p"]["TR"] <= 1.0
        own = [r for r in sets if r["set"] == "selected" and r["model"] == one["model"]]
        drop = {r["role"]: -r["difference"] for r in own if r["unit"] == "accuracy"}
        assert {role: one["selected"][role] for role in drop} == drop
    told = found.summary["contributions"]
    assert {(one["variant"], one["role"]) for one in told} == {("zero", "TR"), ("zero", "TP")}
    rows = [r for r in found.tables["mask"] if r["unit"] == "accuracy" and r["role"] == "TR"]
    means = {
        m: -math.fsum(r["difference"] for r in rows if r["model"] == m) / 9
        for m in ("base", "merged")
    }
    one = next(one for one in told if one["role"] == "TR")
    assert {m: one[m]["mean_drop"] for m in means} == pytest.approx(means)
    assert one["difference"]["estimate"] == pytest.approx(means["merged"] - means["base"])
    assert one["difference"]["n"] == 9


def test_a_recipe_of_every_layer_has_no_other_sets(bench):
    found = mask(random_sets=20, layers=(8,), models=("base",)).run(
        replace(bench, recipe=uniform(9, 0.5))
    )
    assert found.tables["mask_sets"] == []
    assert any("no other sets to compare with" in line for line in found.shown.lines)


def test_what_cannot_be_measured_is_told_and_the_rest_is_there(bench, monkeypatch):
    evaluate = Engine.evaluate

    def failing(engine, recipe, suite, masking=None):
        if masking is not None and masking.intervention.layers == (4,):
            raise TrialFailed("sample x: logits are not finite, from layer 4 on")
        return evaluate(engine, recipe, suite, masking)

    monkeypatch.setattr(Engine, "evaluate", failing)
    found = mask(layers=(3, 4), models=("base",)).run(bench)
    assert found.failed == {
        "zero attention of layer 4 (base)": "sample x: logits are not finite, from layer 4 on"
    }
    assert by_layer(found.tables["mask"]).keys() == {3}


def test_a_mask_that_leaves_questions_unanswered_has_failed(bench, monkeypatch):
    """As answers in a model's own words do."""
    evaluate = Engine.evaluate

    def mute(engine, recipe, suite, masking=None):
        found = evaluate(engine, recipe, suite, masking)
        if masking is None or 4 not in masking.intervention.layers:
            return found
        unscored = [
            Score(None, why="none") if i % 9 == 0 else s for i, s in enumerate(found.scores)
        ]
        return replace(found, scores=tuple(unscored))

    monkeypatch.setattr(Engine, "evaluate", mute)
    found = mask(layers=(3, 4), models=("base",), random_sets=20).run(bench)
    assert by_layer(found.tables["mask"]).keys() == {3}
    why = found.failed["zero attention of layer 4 (base)"]
    assert re.match(r"of the \d+ T[RP] samples that were answered before, only \d+ could be", why)
    assert not any(4 in row["layers"] for row in found.tables["mask_sets"])
    assert any(3 in row["layers"] for row in found.tables["mask_sets"])
    destroyed = [name for name in found.failed if "of layers" in name]
    contrast = next(one for one in found.summary["sets"] if one["unit"] == "accuracy")
    drawn = contrast["random"]
    assert 0 < drawn["failed"] <= len(destroyed)
    assert all(p >= (1 + drawn["failed"]) / 21 for p in drawn["p"].values())
    assert f"({drawn['failed']} more failed: drops as great)" in found.shown.lines[-1]


def test_progress_is_told_step_by_step(bench):
    measured(bench, [], "nothing")
    METHODS["scan"].run(bench)
    steps = [step for step in bench.reporter.stages if step[0] == "scanning layers"]
    assert steps == [("scanning layers", i, 6) for i in range(7)]


REFUSED = [
    (mask(), base(9), r"merges no layer, so there is no merged model to mask; .*models=\[base\]"),
    (mask(variants=("revert",), models=("base",)), RESTORED, "leaves the merged model out"),
    (mask(variants=("revert",), parts=("mlp",)), RESTORED, "merges mlp of no layer"),
    (mask(layers=(3, 9)), RESTORED, r"method\.layers are of 0 to 8, at least one; got \[3, 9\]"),
    (mask(layers=()), RESTORED, "at least one"),
    (LeaveOut(add_at=1.0), base(9), "merges no layer, so none can be left out"),
    (Scan(coefficients=(1.0,), parts=("mlp",), layers=(-1,)), RESTORED, r"got \[-1\]"),
    (
        Scan(coefficients=(1.0,), parts=(), layers=None),
        RESTORED,
        r"method\.parts are of attention",
    ),
]


@pytest.mark.parametrize(("method", "recipe", "message"), REFUSED)
def test_what_does_not_fit_the_recipe_is_refused_before_anything_is_measured(
    method, recipe, message, tiny_anatomy, small_suite
):
    with pytest.raises(UserError, match=message):
        method.require(recipe, tiny_anatomy, small_suite)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_fits_is_not_refused(method, tiny_anatomy, small_suite):
    for recipe in (RESTORED, full(9, 0.5)):
        method.require(recipe, tiny_anatomy, small_suite)


def test_a_part_that_the_pair_keeps_is_refused(tiny_anatomy, small_suite):
    kept = replace(tiny_anatomy, parts=("attention",))
    with pytest.raises(UserError, match=r"of attention, at least one; got \['mlp'\]"):
        Gradient(models=("base",), parts=("mlp",)).require(RESTORED, kept, small_suite)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mask(random_sets=19), "0 or at least 20, got 19"),
        (lambda: mask(variants=()), r"method\.variants names at least one"),
        (lambda: mask(models=()), r"method\.models names at least one"),
        (lambda: Gradient(models=(), parts=("mlp",)), "base, merged or both"),
        (
            lambda: LeaveOut(add_at=0.0),
            r"method\.add_at lie above 0 and at most at 1, got \[0\.0\]",
        ),
        (lambda: Scan(coefficients=(1.1,), parts=("mlp",), layers=None), r"got \[1\.1\]"),
        (lambda: Scan(coefficients=(), parts=("mlp",), layers=None), r"got \[\]"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_pair_s_anatomy_is_that_of_its_language_model(tiny_anatomy):
    assert tiny_anatomy.n_layers == 9
    assert tiny_anatomy.head_groups == (4,) * 9


GOLDEN_LAYERS = (
    "method string, variant string, model string, layer int32, part string, head_group int32, "
    "coefficient double, role string, n int32, reference double, score double, "
    "difference double, low double, high double, p double, unit string"
)
GOLDEN_SETS = (
    "variant string, model string, part string, set string, draw int32, layers list<item: int32>, "
    "role string, n int32, reference double, score double, difference double, unit string"
)


def test_the_columns_of_tables_are_what_their_readers_know():
    told = [", ".join(f"{f.name} {f.type}" for f in schema) for schema in (LAYERS, SETS)]
    assert told == [GOLDEN_LAYERS, GOLDEN_SETS]
    assert {name for name, s in SCHEMAS.items() if s is LAYERS} == set(METHODS)


@pytest.fixture
def lost(bench, monkeypatch):
    """Two samples that are measured on and one of the search cannot be asked."""
    gone = {s.id for s in (*bench.suite.samples[:2], bench.search.samples[0])}
    prepare = Engine._prepare

    def losing(engine, suite):
        found = prepare(engine, suite)
        own = dict.fromkeys(gone & {s.id for s in suite.samples}, "clip.mp4: no such file")
        return replace(found, excluded={**found.excluded, **own})

    evaluate = Engine.evaluate

    def evaluating(engine, recipe, suite, masking=None):
        found = evaluate(engine, recipe, suite, masking)
        scores = (
            Score(None, why="clip.mp4: no such file") if i in gone else score
            for i, score in found.by_id.items()
        )
        return replace(found, scores=tuple(scores))

    monkeypatch.setattr(Engine, "_prepare", losing)
    monkeypatch.setattr(Engine, "evaluate", evaluating)
    return gone


@pytest.mark.parametrize("name", METHODS)
def test_samples_that_cannot_be_asked_are_told_and_in_no_number(name, bench, lost):
    found = METHODS[name].run(bench)
    measured_on = lost & {s.id for s in bench.suite.samples}
    assert found.left_out == dict.fromkeys(measured_on, "clip.mp4: no such file")


def test_means_over_fewer_samples_than_the_search_had_are_told(bench, lost):
    bench.reporter.warnings.clear()
    mask(layers=(3,), models=("merged",)).run(bench)
    assert bench.reporter.warnings == []
    mask(layers=(3,), models=("merged",), variants=("mean",)).run(bench)
    (told,) = bench.reporter.warnings
    assert told == (
        "1 of 30 search samples cannot be asked, and means are taken over the others: clip.mp4: no "
        "such file"
    )
