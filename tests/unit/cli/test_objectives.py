"""`objective=`, `pruner=` and `study.fork=` as a person types them."""

import json
from pathlib import Path

import pytest


def result(name: str) -> dict:
    return json.loads((Path("outputs/studies") / name / "result.json").read_text())


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_two_gains_end_with_a_front_and_the_one_picked(merit_opt, sampler):
    name = f"tiny-clips-layerwise-{sampler}-s0"
    done = merit_opt(
        f"search @small objective=pareto sampler={sampler} study.trials=9 study.random_layers=0"
    )
    assert (done.code, done.err) == (0, "")
    found = result(name)
    assert f"front of the search ({len(found['front'])}; pick=knee)" in done.out
    assert done.out.count("picked") == 1
    assert found["best"]["number"] in [one["number"] for one in found["front"]]
    again = merit_opt(
        f"search @small objective=pareto objective.pick=tp_loss objective.epsilon=1 sampler={sampler} "
        "study.trials=9 study.random_layers=0"
    )
    assert again.code == 0
    assert "pick=tp_loss, epsilon=1" in again.out
    assert result(name)["best"]["digest"] == result(name)["front"][0]["digest"]
    assert merit_opt(f"export recipe=study:{name} out=merged").code == 0


def test_a_sampler_of_one_value_is_refused_for_two_before_weights_load(merit_opt, loads):
    done = merit_opt("search @small objective=pareto sampler=cmaes")
    assert (done.code, loads) == (2, [])
    assert "sampler=cmaes maximises one value, and objective=pareto has two" in done.err


def test_a_constraint_that_the_sampler_does_not_know_is_told(merit_opt):
    done = merit_opt("search @small objective=constrained sampler=random")
    assert done.code == 0
    assert "sampler=random takes no notice of the constraint" in done.out
    assert result("tiny-clips-layerwise-random-s0")["confirm"]["violated"].keys() == {"TP loss"}


def test_a_test_that_stops_proposals_says_how_many(merit_opt):
    done = merit_opt(
        "search @small pruner=wilcoxon pruner.p=0.4 pruner.first=6 pruner.every=2 sampler=random "
        "study.trials=16 study.random_layers=0"
    )
    assert done.code == 0
    stopped = result("tiny-clips-layerwise-random-s0")["trials"]["pruned"]
    assert stopped > 0
    assert f"{stopped} proposals were stopped early" in done.out


def test_where_nothing_can_be_stopped_it_is_told_why(merit_opt):
    done = merit_opt("search @small pruner=median objective=pareto sampler=tpe")
    assert done.code == 0
    assert "every trial is measured in full" in " ".join(done.out.split())


def test_other_settings_fork_a_study_and_the_cache_answers_what_did_not_change(merit_opt):
    first = "search @small study.trials=9 study.random_layers=0"
    assert merit_opt(first).code == 0
    refused = merit_opt(f"{first} objective.penalty=1")
    assert "study.fork=NEW to start a study NEW" in " ".join(refused.err.split())
    done = merit_opt(f"{first} objective.penalty=1 study.fork=milder")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("study milder, forked from tiny-clips-layerwise-flips-s0\n")
    found = result("milder")
    assert found["forked_from"] == "tiny-clips-layerwise-flips-s0"
    assert found["trials"]["cached"] == found["trials"]["complete"] == 9
    assert set(found["cost"].values()) == {0}
    again = merit_opt(f"{first} objective.penalty=1 study.fork=milder")
    assert (again.code, again.out) == (0, done.out)
    assert merit_opt(f"{first} objective.penalty=1 study.name=milder").code == 0


def test_there_must_be_something_to_fork(merit_opt, loads):
    done = merit_opt("search @small study.name=gone study.fork=new")
    assert (done.code, loads) == (2, [])
    assert "study.fork=new starts from study gone, and there is none" in done.err
    assert not Path("outputs/studies/new/result.json").exists()
