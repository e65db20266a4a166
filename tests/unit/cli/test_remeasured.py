"""Commands of what a page shows beside the search."""

from dataclasses import replace

from merit_opt.cli.remeasured import measured_commands
from merit_opt.reporting.facts import Attribution, Evaluated
from tests.reports import bare, evaluation, study

OWN = {"suite": "clips", "split": "confirm", "search_samples": "5ea5c4"}


def commands(**methods):
    told = study()
    fingerprint = {**told.fingerprint, "search samples": "5ea5c4"}
    held = bare(replace(told, fingerprint=fingerprint), settings={"seed": 0})
    return list(
        measured_commands(replace(held, attribution=Attribution(runs={"methods": methods})), "")
    )


def test_a_method_is_told_with_what_differs_from_its_option():
    settings = {"coefficients": [0.25], "parts": ["attention"], "layers": None}
    (told,) = commands(scan={"settings": settings, "seed": 2, "provenance": OWN})
    assert told.startswith("merit-opt attribute ")
    assert told.endswith("recipe=study:small method=scan 'method.coefficients=[0.25]' seed=2")


def test_another_suite_or_split_is_told():
    where = {"suite": "mini", "split": "all", "search_samples": "f00"}
    (told,) = commands(leave_out={"settings": {"add_at": 1.0}, "provenance": where})
    assert " suite=mini " in told
    assert told.endswith("method=leave_out split=all")


def test_evaluations_of_winner_and_of_a_trial_are_told_and_of_strangers_not():
    told = study()
    assert told.best is not None
    digests = (told.best.recipe.digest, told.trials[1].recipe.digest, "ffffffffffff")
    held = bare(
        told, settings={"seed": 0}, evaluations=[Evaluated(evaluation(d)) for d in digests]
    )
    winner, control = measured_commands(held, "")
    assert winner.endswith("recipe=study:small suite=other")
    assert control.endswith("recipe=study:small/1 suite=other")


def test_without_a_config_nothing_is_known():
    assert not list(measured_commands(bare(study(), evaluations=[Evaluated(evaluation("x"))]), ""))
