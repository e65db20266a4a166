"""Studies of two gains and of one under a constraint, from first trial to result."""

import json
import math
from dataclasses import replace

import pytest
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.trial import TrialState

from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import ConstrainedGain, ParetoGain, PenalisedGain
from merit_opt.recipe.recipe import Recipe
from merit_opt.search import pruners
from merit_opt.search.abilities import require_able
from merit_opt.search.front import pareto_front
from merit_opt.search.references import study_recipe
from merit_opt.search.result import note
from merit_opt.search.samplers import SeededSampler, cmaes, random, tpe
from merit_opt.search.storage.memory import in_memory
from merit_opt.search.trial import best, front_of, record_of

PARETO = ParetoGain("probability", "knee", 0.0)
NSGAII = SeededSampler(lambda seed, _: NSGAIISampler(seed=seed, population_size=8), learns=True)
CAPABLE = {"tpe": tpe(n_startup_trials=10), "nsgaii": NSGAII, "random": random()}


def proposals(study):
    return [r for t in study.trials if (r := record_of(t)) and r.role == "trial"]


@pytest.fixture
def pareto(world):
    world.objective = PARETO
    return world


@pytest.fixture
def constrained(world):
    world.objective = ConstrainedGain("probability", 0.05)
    return world


@pytest.mark.parametrize("sampler", CAPABLE.values(), ids=CAPABLE)
def test_a_study_of_two_gains_ends_with_its_front_and_one_of_it(pareto, sampler):
    pareto.sampler = sampler
    result = pareto.run(40)
    study = pareto.study()
    front = front_of(study)
    assert [one["number"] for one in result["front"]] == [r.number for r in front]
    assert result["best"]["number"] in [r.number for r in front]
    assert result["best"]["digest"] == best(study).recipe.digest
    for one, record in zip(result["front"], front, strict=True):
        assert one["values"] == list(record.values) == study.trials[record.number].values
        assert one["digest"] == record.recipe.digest
        assert {int(k): v for k, v in one["layers"].items()} == record.recipe.coefficients()
    told = [r for r in proposals(study) if r.recipe.merged_layers]
    assert {r.number for r in pareto_front(told)} & {r.number for r in front}
    assert result["choice"] == {"how": "knee", "epsilon": 0.0}
    assert "on the front: trial" in note(result)
    assert json.dumps(result, allow_nan=False)


def test_both_gains_are_told_and_their_sum_is_kept(pareto):
    study = pareto.work_open(12)
    for record in proposals(study):
        assert len(record.values) == 2
        assert record.value == pytest.approx(sum(record.values))


def test_the_picked_one_keeps_to_epsilon_and_gains_most(pareto):
    pareto.objective = ParetoGain("probability", "tp_loss", 0.05)
    result = pareto.run(40)
    kept = [one for one in result["front"] if -one["values"][1] <= 0.05]
    assert result["best"]["values"][0] == max(one["values"][0] for one in kept)


def test_a_finished_study_may_pick_otherwise_without_a_new_trial(pareto):
    first = pareto.run(40)
    trials = len(pareto.study().trials)
    pareto.objective = ParetoGain("probability", "tp_loss", 0.0)
    again = pareto.run(40)
    assert len(pareto.study().trials) == trials
    assert again["front"] == first["front"]
    assert again["best"]["number"] == again["front"][-1]["number"] != first["best"]["number"]
    assert study_recipe(pareto.storage, "study:s").recipe.digest == again["best"]["digest"]


def test_a_study_of_two_gains_stopped_and_resumed_equals_an_uninterrupted_one(pareto, tmp_path):
    whole = pareto.run(30)
    other = replace(
        pareto, folder=tmp_path / "o", storage=in_memory(), engine=type(pareto.engine)()
    )

    def interrupt(recipe, count):
        if count == 20:
            raise KeyboardInterrupt

    other.engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        other.run(30)
    other.engine.before = lambda recipe, count: None
    resumed = other.run(30)
    assert [o["values"] for o in resumed["front"]] == [o["values"] for o in whole["front"]]
    assert resumed["best"]["digest"] == whole["best"]["digest"]


def test_a_constraint_is_told_to_optuna_and_the_winner_keeps_to_it(constrained):
    result = constrained.run(40)
    study = constrained.study()
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert all(t.constraints.keys() == {"TP loss"} for t in complete)
    records = [record_of(t) for t in complete]
    assert [r.feasible for r in records] == [t.constraints["TP loss"] <= 0.0 for t in complete]
    assert {r.feasible for r in records} == {True, False}
    winner = best(study)
    assert winner.feasible
    assert winner.value == max(r.value for r in proposals(study) if r.feasible)
    assert max(r.value for r in proposals(study)) > winner.value
    assert result["front"] is None
    assert result["choice"] == {"how": "thrift", "least_share": 0.05}
    assert result["confirm"]["violated"].keys() == {"TP loss"}


def test_where_nothing_keeps_to_the_constraint_the_base_is_left_and_it_is_said(constrained):
    constrained.objective = ConstrainedGain("probability", 0.0)
    measure = constrained.engine.evaluate

    def spoiled(recipe, suite):
        found = measure(recipe, suite)
        if not recipe.merged_layers:
            return found
        worse = tuple(replace(s, log_probability=s.log_probability - 1.0) for s in found.scores)
        return replace(found, scores=worse)

    constrained.engine.evaluate = spoiled
    constrained.space = replace(constrained.space, low=0.2)
    constrained.sampler = random()
    result = constrained.run(18)
    assert result["best"]["number"] == 0
    (remark,) = result["remarks"]
    assert remark.startswith("none of the ")
    assert "keeps to the constraint" in note(result)


def test_the_base_may_always_win(constrained):
    constrained.objective = ConstrainedGain("probability", 0.0)
    constrained.work_open(1)
    assert best(constrained.study()).name == "base"


@pytest.mark.parametrize(
    "rule", [pruners.CURTAIL, pruners.wilcoxon(p=0.1, first=9, every=3)(random())]
)
def test_objectives_without_one_leader_are_measured_in_full(world, rule):
    for objective in (PARETO, ConstrainedGain("accuracy", 0.1)):
        assert "every trial is measured in full" in rule.in_full_because(
            objective, world.split.search
        )
    assert rule.in_full_because(PenalisedGain("accuracy", 2.0), world.split.search) is None


class Alone(BaseSampler):
    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, param_name, param_distribution):
        return 0


@pytest.mark.parametrize(
    "sampler", [cmaes(sigma0=None), SeededSampler(lambda seed, space: Alone(), learns=True)]
)
def test_a_sampler_of_one_value_is_refused_for_two_and_warned_of_under_a_constraint(
    world, sampler
):
    with pytest.raises(UserError, match=r"sampler=mine maximises one value, .* sampler=tpe"):
        require_able(sampler, "mine", world.space, PARETO)
    warning = require_able(sampler, "mine", world.space, ConstrainedGain("accuracy", 0.1))
    assert "takes no notice of the constraint" in warning
    assert require_able(sampler, "mine", world.space, PenalisedGain("accuracy", 2.0)) is None


@pytest.mark.parametrize(("name", "sampler"), CAPABLE.items())
def test_a_sampler_that_is_able_is_let_through(world, name, sampler):
    assert require_able(sampler, name, world.space, PARETO) is None
    warning = require_able(sampler, name, world.space, ConstrainedGain("accuracy", 0.1))
    assert (warning is None) == (name != "random")


def impossible(recipe: Recipe, suite) -> Evaluation:
    scores = tuple(Score(0.0, "B", -math.inf) for _ in suite.samples)
    return Evaluation(suite.digest, recipe.digest, tuple(s.id for s in suite.samples), scores)


def test_an_objective_that_is_no_number_fails_the_trial_with_a_sentence(world):
    world.objective = PenalisedGain("log_probability", 2.0)
    measure = world.engine.evaluate
    world.engine.evaluate = lambda recipe, suite: (
        impossible(recipe, suite) if recipe.coefficients("mlp") else measure(recipe, suite)
    )
    study = world.work(9)
    failed = [record_of(t) for t in study.trials if t.state == TrialState.FAIL]
    assert failed
    assert all("is -inf, no finite number" in r.why for r in failed)
    assert all(t.values is None for t in study.trials if t.state == TrialState.FAIL)


def test_a_base_without_a_finite_objective_is_told_before_the_search(world):
    world.objective = PenalisedGain("log_probability", 2.0)
    world.engine.evaluate = impossible
    with pytest.raises(TrialFailed, match="no finite number"):
        world.run(9)
    assert not world.study().trials
