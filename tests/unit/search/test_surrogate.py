"""Searches on the surrogate of experiment 0006, whose right answer is known."""

import sys
from itertools import takewhile

import optuna
import pytest

from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.constructors import attention, base


@pytest.fixture(scope="module")
def modules(repo):
    """The experiment's scripts, which import each other by name."""
    folder = str(repo / "experiments" / "0006-search-efficiency")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import methods
        import rows
        import summary
        import surrogate

        yield methods, rows, summary, surrogate
    for name in ("methods", "rows", "summary", "surrogate", "testbed"):
        sys.modules.pop(name, None)


def trials_to_target(modules, law: str, method: str, seed: int, budget: int) -> float | None:
    methods, rows, _, surrogate = modules
    testbed = surrogate.Surrogate(law, seed)
    goal = rows.TARGET * rows.held_out_gain(testbed, testbed.oracle)
    run = methods.search(testbed, methods.METHODS[method], seed)
    within = takewhile(lambda found: found.spent <= budget, run)
    return next(
        (f.spent for f in within if rows.held_out_gain(testbed, f.record.recipe) >= goal),
        None,
    )


@pytest.mark.parametrize("law", ["surrogate", "and_pairs", "convex", "only_in_threes"])
def test_the_oracle_gains_where_the_best_uniform_loses(modules, law):
    _, rows, _, surrogate = modules
    testbed = surrogate.Surrogate(law, 1000)
    assert len(testbed.useful) == 6
    assert set(testbed.oracle.merged_layers) == testbed.useful
    gain = rows.held_out_gain(testbed, testbed.oracle)
    assert gain > 0.15
    assert (
        max(
            rows.held_out_gain(testbed, attention(28, dict.fromkeys(range(28), c)))
            for c in rows.UNIFORM
        )
        < gain / 2
    )


def test_answers_are_probabilities_of_two_options_and_fit_the_suite(modules):
    testbed = modules[3].Surrogate("surrogate", 1000)
    found = testbed.measure(testbed.oracle)
    assert found == testbed.measure(testbed.oracle)
    assert found.suite == testbed.suite.digest
    assert found.ids == tuple(s.id for s in testbed.suite.samples)
    roles = [testbed.suite.role(s) for s in testbed.suite.samples]
    assert (roles.count("TR"), roles.count("TP")) == (177, 55)
    for score in found.scores:
        assert (score.value == 1.0) == (score.measured("probability") > 0.5)
    yardstick = Yardstick(
        testbed.suite, modules[0].PenalisedGain("probability", 2.0), testbed.measure(base(28))
    )
    assert yardstick.value(found) > 0.1


def test_layers_that_help_only_in_pairs_harm_alone(modules):
    testbed = modules[3].Surrogate("and_pairs", 1000)
    scan = testbed.prior("scan")
    assert all(scan.reasoning[layer] < 0 for layer in testbed.useful)
    assert scan.bill == 28


def test_the_gradient_is_the_true_one_with_noise(modules):
    testbed = modules[3].Surrogate("surrogate", 1000)
    gains = testbed.prior("gradient").gains(2.0)
    ranked = sorted(range(28), key=lambda layer: -gains[layer])
    assert 3 <= len(testbed.useful & set(ranked[:10])) < 7
    assert testbed.prior("gradient") == testbed.prior("gradient")


@pytest.mark.parametrize("seed", [1000, 1001])
def test_flips_reach_the_target_in_few_trials(modules, seed):
    assert trials_to_target(modules, "surrogate", "default", seed, budget=40) is not None
    assert trials_to_target(modules, "surrogate", "flips+gradient", seed, budget=30) is not None


@pytest.mark.parametrize("seed", [1000, 1001])
def test_layers_that_help_only_in_pairs_are_found_from_the_other_end(modules, seed):
    assert trials_to_target(modules, "and_pairs", "default", seed, budget=30) is None
    assert trials_to_target(modules, "and_pairs", "default", seed, budget=90) is not None


def test_the_cold_search_alone_finds_layers_that_help_only_in_pairs(modules, monkeypatch):
    from merit_opt.search import flip_sampler

    monkeypatch.setattr(flip_sampler, "propose", lambda history, board: None)
    assert trials_to_target(modules, "and_pairs", "default", 1005, budget=120) is not None


def test_a_summary_counts_never_as_more_than_any_number(modules):
    summary = modules[2]
    blank = dict.fromkeys(summary.MEANS, "0.5") | {"budget": "300", "bill": "4"}
    runs = {"default": ["10", "20", "", "12", "30"], "paper:0/1": ["90", "", "", "100", "110"]}
    rows = [
        {
            **blank,
            "testbed": "surrogate",
            "method": method,
            "trials_to_target": trials,
            "trials_to_hold": "",
        }
        for method, of_method in runs.items()
        for trials in of_method
    ]
    found = summary.summarised(rows)
    assert found["methods"]["surrogate"]["default"]["trials_to_target"]["value"] == 20
    assert found["methods"]["surrogate"]["paper:0/1"]["trials_to_target"]["value"] == 110
    assert found["methods"]["surrogate"]["default"]["trials_to_hold"]["value"] is None
    assert found["aims"]["surrogate"]["best_paper"] == "paper:0/1"
    assert found["aims"]["surrogate"]["ratio"] == pytest.approx(20 / 110, abs=1e-4)


def test_the_aims_on_planted_pairs_are_shares_of_runs_and_of_pairs(modules):
    met = {"held_share_10": "0.95", "uniform_share": "0.3"}
    met |= {"recall_10": "1.0", "recall_60": "1.0", "decoys_10": "0", "decoys_60": "0"}
    missed = met | {"held_share_10": "0.94", "decoys_10": "1"}
    blank = dict.fromkeys(modules[2].MEANS, "0.5") | {"budget": "60", "bill": "0"}
    blank |= {"testbed": "planted", "method": "default", "trials_to_target": "7"}
    runs = [met | {"pair": "a"}, met | {"pair": "a"}, met | {"pair": "b"}, missed | {"pair": "b"}]
    rows = [{**blank, "trials_to_hold": "7", **run} for run in runs]
    found = modules[2].summarised(rows)["aims"]["planted"]
    assert (found["runs"], found["pairs"]) == (4, 2)
    for name in ("holds_10", "names_no_decoy_10"):
        assert found[name] == {"runs": 0.75, "pairs": 0.5}
    for name in ("beats_best_uniform_10", "names_useful_60", "names_no_decoy_60"):
        assert found[name] == {"runs": 1.0, "pairs": 1.0}
