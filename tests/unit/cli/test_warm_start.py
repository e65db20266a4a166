"""`sampler.warm_start=` on the command line, with a model."""

import json
from pathlib import Path

STUDY = Path("outputs/studies/tiny-clips-layerwise-flips-s0/result.json")


def test_a_gradient_s_bill_is_told_and_kept(merit_opt):
    done = merit_opt("search @small sampler.warm_start=gradient study.random_layers=0")
    assert done.code == 0, done.err
    prior = json.loads(STUDY.read_text())["prior"]
    assert prior["source"] == "gradient"
    assert [len(prior[role]) for role in ("reasoning", "perception")] == [9, 9]
    assert f"prior: gradient, at the cost of {prior['bill']:.1f} evaluations" in done.out


def test_without_one_there_is_no_prior(merit_opt):
    done = merit_opt("search @small")
    assert "prior" not in done.out
    assert json.loads(STUDY.read_text())["prior"] is None


def test_a_study_does_not_change_its_warm_start(merit_opt):
    merit_opt("search @small")
    done = merit_opt("search @small sampler.warm_start=scan study.trials=40")
    assert done.code != 0
    assert "warm start: the study has none, this run has scan" in done.err


def test_an_unknown_one_is_a_sentence(merit_opt):
    done = merit_opt("search @small sampler.warm_start=sca")
    assert done.code != 0
    assert "sampler.warm_start is one of none, gradient, scan; got 'sca'" in done.err
