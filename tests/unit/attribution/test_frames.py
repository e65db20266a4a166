"""Attribution to frames on the embedded pair: what is kept, chosen, summed up and refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from merit_opt.attribution.frames import explain, measures
from merit_opt.attribution.frames.curves import RANDOM, area, cuts, orders, shares
from merit_opt.attribution.frames.method import Frames
from merit_opt.attribution.tables import FRAME_SAMPLES, FRAMES, SCHEMAS, write_table
from merit_opt.data.suite import Decoding
from merit_opt.errors import TrialFailed, UserError
from merit_opt.recipe.constructors import base
from tests.unit.attribution.conftest import RESTORED


def frames(**given):
    fields = {
        "methods": ("occlusion_mean", "gradient"),
        "models": ("base", "merged"),
        "samples": 6,
        "steps": 4,
        "most_steps": 4,
        "curves": 0,
        "redrawn": 0,
    }
    return Frames(**{**fields, **given})


@pytest.fixture
def fresh(bench, tmp_path, monkeypatch):
    """A bench that knows nothing yet."""
    monkeypatch.setattr(bench.engine, "cache", tmp_path)
    return bench


@pytest.fixture
def calls(monkeypatch):
    """Packs that are explained meanwhile."""
    seen = []
    records = explain._records

    def spy(asked, ways, subject):
        seen.append((subject.name, tuple(asked.samples)))
        return records(asked, ways, subject)

    monkeypatch.setattr(explain, "_records", spy)
    return seen


def test_tables_have_every_column_and_no_other_and_fit_their_schema(bench, tmp_path):
    found = frames(methods=("occlusion_hidden", "integrated"), curves=2, redrawn=2).run(bench)
    assert found.failed == {}
    for name, rows in found.tables.items():
        assert rows
        assert all(set(row) == set(SCHEMAS[name].names) for row in rows)
        write_table(tmp_path, name, rows)
    rows, samples = found.tables["frames"], found.tables["frame_samples"]
    assert len(samples) == 6 * 2
    assert len(rows) == 6 * 2 * 2 * 2 * 8
    assert {row["target"] for row in rows} == {"chosen", "right"}
    known = {s.id: s for s in bench.suite.samples}
    evaluation = bench.engine.evaluate(RESTORED, bench.suite).by_id
    for row in samples:
        assert math.fsum(map(math.exp, row["log_probabilities"])) == pytest.approx(1.0, abs=1e-5)
        assert row["right"] == known[row["sample"]].labels[known[row["sample"]].answer]
        if row["model"] == "merged":
            assert row["answer"] == evaluation[row["sample"]].answer
            assert row["correct"] == bool(evaluation[row["sample"]].value)
    for row in rows:
        assert (row["start_s"], row["end_s"]) == (row["frame"] / 4, row["frame"] / 4 + 0.25)
        spans = known[row["sample"]].evidence
        assert row["evidence"] == any(a <= row["start_s"] < b for a, b in spans)
    json.dumps(found.summary)
    assert found.summary.keys() == {
        "samples", "evidence", "shape", "agreement", "curves", "points", "redrawn", "completeness"
    }  # fmt: skip
    assert all(found.summary[part] for part in found.summary)


def test_samples_are_chosen_by_seed_and_of_both_roles(bench):
    def chosen(seed):
        rows = frames(samples=8).run(replace(bench, seed=seed)).tables["frame_samples"]
        assert {row["role"] for row in rows} == {"TR", "TP"}
        return {row["sample"] for row in rows}

    assert len(chosen(0)) == 8
    assert chosen(0) == chosen(0) != chosen(1)


def test_an_interrupted_run_goes_on_where_it_stopped(fresh, calls, monkeypatch):
    method = frames()
    stage = type(fresh.reporter).stage

    def interrupting(told, name, done, total):
        if name.startswith("attributing") and len(calls) == 3:
            raise KeyboardInterrupt
        stage(told, name, done, total)

    with monkeypatch.context() as patched:
        patched.setattr(type(fresh.reporter), "stage", interrupting)
        with pytest.raises(KeyboardInterrupt):
            method.run(fresh)
    before = list(calls)
    assert len(before) == 3
    calls.clear()
    found = method.run(fresh)
    assert calls
    assert not set(calls) & set(before)
    assert len(calls) + len(before) == len(set(calls) | set(before))
    calls.clear()
    again = method.run(fresh)
    assert calls == []
    assert again.tables == found.tables
    # What shapes a number is part of what it is found by.
    frames(methods=("gradient",)).run(fresh)
    assert calls


def test_torn_files_are_explained_again(fresh, calls):
    first = frames(models=("base",)).run(fresh)
    files = list((fresh.engine.cache / "frames").glob("*.json"))
    assert files
    files[0].write_text(files[0].read_text()[:40])
    calls.clear()
    assert frames(models=("base",)).run(fresh).tables == first.tables
    assert len(calls) == 1


def test_a_sample_alone_has_the_numbers_it_has_in_company(bench):
    many = frames(samples=100, models=("merged",)).run(bench)
    few = frames(samples=3, models=("merged",)).run(bench)

    def of(found):
        keys = ("sample", "method", "target", "frame")
        return {tuple(r[k] for k in keys): r["attribution"] for r in found.tables["frames"]}

    whole = of(many)
    for key, value in of(few).items():
        assert whole[key] == pytest.approx(value, abs=1e-4)


def test_what_cannot_be_explained_is_told_and_the_rest_is_there(fresh, monkeypatch):
    records = explain._records
    (bad, *_) = frames().run(fresh).tables["frame_samples"]

    def failing(asked, ways, subject):
        if bad["sample"] in asked.samples:
            raise TrialFailed("logits are not finite")
        return records(asked, ways, subject)

    monkeypatch.setattr(explain, "_records", failing)
    monkeypatch.setattr(fresh.engine, "cache", fresh.engine.cache / "other")
    found = frames(models=("base",)).run(fresh)
    assert found.failed == {f"{bad['sample']} (base)": "logits are not finite"}
    assert len(found.tables["frame_samples"]) == 5


def test_attribution_to_the_restored_model_lies_on_evidence(bench):
    """The experiment has the numbers; here, that the summary finds what its rows say."""
    found = frames(samples=30, methods=("occlusion_hidden",), models=("merged",)).run(bench)
    (one,) = (
        o for o in found.summary["evidence"] if (o["target"], o["role"]) == ("chosen", "all")
    )
    own = one["share"]["merged"]
    shares, chances = [], []
    by_sample = {}
    for row in found.tables["frames"]:
        if row["target"] == "chosen":
            by_sample.setdefault(row["sample"], []).append(row)
    for rows in by_sample.values():
        on = [max(0.0, r["attribution"]) for r in rows if r["evidence"]]
        every = [max(0.0, r["attribution"]) for r in rows]
        if 0 < len(on) < len(rows) and sum(every):
            shares.append(sum(on) / sum(every))
            chances.append(len(on) / len(rows))
    assert own["n"] == len(shares)
    assert own["mean"] == pytest.approx(sum(shares) / len(shares))
    assert own["chance"] == pytest.approx(sum(chances) / len(chances))
    assert own["above_chance"]["estimate"] == pytest.approx(own["mean"] - own["chance"])
    assert own["mean"] > own["chance"]


def test_measures_of_one_sample():
    evidence = (False, True, True, False)
    assert measures.evidence_share((-1.0, 3.0, 0.0, 1.0), evidence) == 0.75
    assert measures.evidence_share((-1.0, -3.0, 0.0, -1.0), evidence) is None
    assert [measures.points(a, evidence) for a in ((0, 1, 0, 0), (2, 1, 0, 0))] == [1.0, 0.0]
    assert [measures.chance(e) for e in (evidence, (), (True, True), (False,))] == [
        0.5, None, None, None
    ]  # fmt: skip
    assert measures.spread((0.0, 5.0, -1.0)) == 0.0
    assert measures.spread((1.0, 1.0, 1.0)) == pytest.approx(1.0)
    assert measures.centre((0.0, 0.0, 2.0)) == 1.0
    assert measures.centre((1.0, -9.0, 1.0)) == 0.5
    assert measures.rank_correlation((1, 2, 3, 9), (0.1, 0.2, 0.3, 0.4)) == pytest.approx(1.0)
    assert measures.rank_correlation((1, 2, 3), (3, 2, 1)) == pytest.approx(-1.0)
    assert measures.rank_correlation((1, 1, 1), (3, 2, 1)) is None


def test_curves_go_from_everything_to_nothing_in_order_of_attribution():
    assert list(cuts(8, 4)) == [0, 2, 4, 6, 8]
    assert list(cuts(3, 8)) == [0, 1, 2, 3]
    assert shares(10, 9) == (0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0)
    found = orders({"gradient": (0.1, 0.9, -0.2)}, 3, "0/x")
    assert found["gradient"] == [1, 0, 2]
    assert sorted(found[RANDOM]) == [0, 1, 2]
    assert area((0.0, 1.0), (1.0, 0.0)) == 0.5
    assert area((0.0, 0.2, 1.0), (1.0, 1.0, 1.0)) == pytest.approx(1.0)
    for steps in (2, 3, 8):  # a straight line has one area, wherever its points lie
        at = shares(10, steps + 1)
        assert area(at, [1.0 - share for share in at]) == pytest.approx(0.5)


def test_removing_what_supports_first_costs_most(bench):
    found = frames(samples=30, methods=("occlusion_mean",), models=("base",), curves=8).run(bench)
    (own,) = found.summary["curves"]
    assert (
        own["deletion"]["difference"]["estimate"] < 0 < own["insertion"]["difference"]["estimate"]
    )


@pytest.mark.parametrize(
    ("curves", "shares"), [(4, [0.0, 0.25, 0.5, 0.75, 1.0]), (3, [0.0, 0.375, 0.625, 1.0])]
)
def test_the_area_under_the_mean_curve_is_the_mean_area(bench, curves, shares):
    found = frames(samples=6, methods=("occlusion_mean",), models=("base",), curves=curves).run(
        bench
    )
    (areas,), (own, drawn) = found.summary["curves"], found.summary["points"]
    assert (own["method"], drawn["method"]) == ("occlusion_mean", RANDOM)
    for way in ("deletion", "insertion"):
        assert [point["share"] for point in own[way]] == shares
        assert all(point["low"] <= point["mean"] <= point["high"] for point in own[way])
        for points, key in ((own, "area"), (drawn, "random")):
            assert area(shares, [p["mean"] for p in points[way]]) == pytest.approx(areas[way][key])
    assert own["deletion"][0]["mean"] == pytest.approx(own["insertion"][-1]["mean"])


def test_progress_is_told(bench):
    frames(models=("merged",)).run(bench)
    bill = frames(models=("merged",)).bill(bench.recipe, bench.anatomy, bench.suite)
    assert bill == "6 questions in merged, frame by frame"
    steps = [s for s in bench.reporter.stages if s[0] == "attributing to frames (merged)"]
    assert steps == [(steps[0][0], i, steps[0][2]) for i in range(steps[0][2] + 1)]


def test_what_does_not_fit_is_refused_before_anything_is_loaded(tiny_anatomy, small_suite):
    with pytest.raises(UserError, match="merges no layer, so there is no merged model to explain"):
        frames().require(base(9), tiny_anatomy, small_suite)
    frames(models=("base",)).require(base(9), tiny_anatomy, small_suite)
    frames().require(RESTORED, tiny_anatomy, small_suite)
    spoken = replace(
        small_suite,
        asking=replace(small_suite.asking, scorer="generate", decoding=Decoding("greedy", 4)),
    )
    with pytest.raises(UserError, match="method=frames differentiates the margin"):
        frames().require(RESTORED, tiny_anatomy, spoken)
    media = (replace(small_suite.samples[0].media[0], path=Path("picture.png")),)
    stills = replace(
        small_suite, samples=tuple(replace(s, media=media) for s in small_suite.samples)
    )
    for suite in (stills, small_suite.only([])):
        with pytest.raises(UserError, match="has no question with several options about a video"):
            frames().require(RESTORED, tiny_anatomy, suite)
    silent = replace(small_suite, samples=tuple(replace(s, media=()) for s in small_suite.samples))
    with pytest.raises(UserError, match="has no question with several options about a video"):
        frames().require(RESTORED, tiny_anatomy, silent)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": ()}, r"method\.methods names at least one"),
        ({"models": ()}, r"method\.models names at least one"),
        ({"samples": 0}, r"method\.samples is 1 or more, got 0"),
        ({"steps": 0}, r"method\.steps is 1 or more, got 0"),
        (
            {"steps": 5, "most_steps": 7},
            r"most_steps is 8 or more, method\.steps=5 in whole fours, got 7",
        ),
        (
            {"steps": 1, "most_steps": 1},
            r"most_steps is 4 or more, method\.steps=1 in whole fours, g",
        ),
        ({"curves": -1}, r"method\.curves is 0 or more, got -1"),
        ({"redrawn": -1}, r"method\.redrawn is 0 or more, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        frames(**given)


GOLDEN = (
    "sample string, model string, method string, target string, frame int32, start_s double, "
    "end_s double, evidence bool, attribution double"
)
GOLDEN_SAMPLES = (
    "sample string, model string, role string, group string, answer string, right string, "
    "correct bool, log_probabilities list<item: double>, gap double, residual double"
)


def test_the_columns_of_tables_are_what_their_readers_know():
    told = [", ".join(f"{f.name} {f.type}" for f in schema) for schema in (FRAMES, FRAME_SAMPLES)]
    assert told == [GOLDEN, GOLDEN_SAMPLES]
