"""What a result owns up to: luck, repetition, and that nothing was found."""

import io

import pytest
from rich.console import Console

from merit_opt.cli.tables import show_study
from merit_opt.data.sample import Sample
from merit_opt.data.split import split_by_group
from merit_opt.evaluation import gap, stats
from merit_opt.evaluation.stats import holm, paired_difference
from merit_opt.search.confirm import compare
from merit_opt.search.result import note
from merit_opt.search.trial import best, best_of, record_of
from tests.suites import made_up


def suite_of(videos):
    samples = (
        Sample(f"v{video}-{kind}", (), "?", ("yes", "no"), 0, (("kind", kind[:2]),), f"v{video}")
        for video in range(videos)
        for kind in ("TR1", "TR2", "TP1")
    )
    return made_up(samples, {"TR": "TR", "TP": "TP"})


def shown(result) -> str:
    text = io.StringIO()
    show_study(Console(file=text, width=200), result)
    return text.getvalue()


@pytest.fixture
def result(world):
    return world.run(25)


def test_the_five_best_are_distinct_recipes_that_may_win_and_the_winner_leads(world, result):
    study = world.study()
    top = result["confirm"]["top"]
    expected = [r for r in best_of(study, 9) if r.recipe.merged_layers][:5]
    assert [one["number"] for one in top] == [r.number for r in expected]
    assert len({one["digest"] for one in top}) == len(top) == 5
    assert top[0]["number"] == best(study).number == result["best"]["number"]
    values = [record_of(study.trials[one["number"]]).value for one in top]
    assert values == sorted(values, reverse=True)
    outside = {r.name for r in world.told.trials if r.name} - {"uniform:0.25", "uniform:0.5"}
    assert not {record_of(study.trials[one["number"]]).name for one in top} & outside


def test_the_search_s_number_stands_beside_the_one_on_confirm(world, result):
    study, confirm = world.study(), world.split.confirm
    base = world.engine.evaluate(record_of(study.trials[0]).recipe, confirm)
    for one in result["confirm"]["top"]:
        record = record_of(study.trials[one["number"]])
        assert one["search_objective"] == record.metrics["objective"]
        found = compare(base, world.engine.evaluate(record.recipe, confirm), confirm, 0)["TR"]
        assert one["difference"]["estimate"] == found.estimate
        assert one["gain"]["estimate"] == pytest.approx(one["objective"])


def test_p_is_corrected_over_all_of_them_and_the_verdict_is_by_the_corrected_one(result):
    top = result["confirm"]["top"]
    assert [one["p_holm"] for one in top] == holm([one["p"] for one in top])
    for one in top:
        low, high = one["difference"]["low"], one["difference"]["high"]
        assert one["verdict"] == stats.verdict(low, high, one["p_holm"])
    headline = result["confirm"]["difference"]["TR"]
    assert headline["p_holm"] == top[0]["p_holm"]
    assert headline["verdict"] == top[0]["verdict"]


def test_what_is_not_significant_is_called_so_everywhere(result):
    top = result["confirm"]["top"]
    assert {one["verdict"] for one in top} == {"not significant"}  # p is never below 0.01 * 5
    assert shown(result).count("not significant") == len(top) + 2
    assert note(result).count("not significant") == len(top) + 2


def test_a_gain_that_is_real_is_called_significant(world, monkeypatch):
    for module in (stats, gap):
        monkeypatch.setattr(module, "RESAMPLES", 1999)
    world.split = split_by_group(suite_of(100), search_share=0.4, seed=0)
    result = world.run(12, random_layers=0)
    difference = result["confirm"]["difference"]["TR"]
    assert difference["verdict"] == "significant"
    assert difference["p"] <= difference["p_holm"] < 0.05
    assert "(significant)" in shown(result)


def test_a_recipe_of_the_best_that_fails_on_confirm_is_named_and_not_counted(world, failing):
    top = {one["digest"] for one in world.run(25)["confirm"]["top"]}
    lost = sorted(top - {best(world.study()).recipe.digest})[0]
    numbers = [n for n, (r, s) in enumerate(world.engine.asked, 1) if r.digest == lost]
    (world.folder / "studies/s/result.json").unlink()
    asked = len(world.engine.asked)
    confirmed = [r.digest for r, s in world.engine.asked[26:]]
    assert numbers[-1] > 26
    world.engine.before = failing({asked + 1 + confirmed.index(lost) + 1})
    again = world.run(25)["confirm"]
    assert len(again["top"]) == 4
    (name,) = again["failed"]
    assert name.startswith("trial ")
    assert [one["p_holm"] for one in again["top"]] == holm([one["p"] for one in again["top"]])


def test_a_recipe_met_again_costs_nothing_and_is_counted_apart(world, result):
    records = [record_of(t) for t in world.study().trials]
    first = {}
    for record in records:
        assert record.cached == (record.recipe in first) == (not record.cost)
        first.setdefault(record.recipe, record)
    cached = sum(r.cached for r in records)
    assert result["trials"]["cached"] == cached > 0
    assert result["cost"]["trials"] == len(records) - cached
    assert f"{cached} of 25 trials were answered by the cache" in shown(result)


def test_the_base_s_trial_pays_for_the_base(world, result):
    base = record_of(world.study().trials[0])
    assert (base.name, base.cached, bool(base.cost)) == ("base", False, True)


def test_a_study_of_controls_alone_says_that_nothing_was_searched(world):
    result = world.run(6)
    assert result["remarks"] == [
        "only controls were measured, nothing was searched: give study.trials more than 6"
    ]
    assert result["remarks"][0] in shown(result)
    assert result["remarks"][0] in note(result)


def test_the_paired_difference_behind_it_is_clustered(world, result):
    confirm = world.split.confirm
    sides = [
        world.engine.evaluate(record_of(world.study().trials[n]).recipe, confirm)
        for n in (0, result["best"]["number"])
    ]
    groups = {s.id: s.group_id for s in confirm.samples if confirm.role(s) == "TR"}
    first, second = (
        {i: v for i, v in side.measured("accuracy").items() if i in groups} for side in sides
    )
    found = paired_difference(first, second, groups, 0)
    assert result["confirm"]["difference"]["TR"]["low"] == found.low
