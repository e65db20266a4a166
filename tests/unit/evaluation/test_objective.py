import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.evaluation.objective import ConstrainedGain, ParetoGain, PenalisedGain

shares = st.floats(0.0, 1.0)
means = st.fixed_dictionaries({"TR": shares, "TP": shares})
penalties = st.floats(0.0, 100.0)


@given(penalties, means, shares)
def test_the_base_has_the_value_zero(penalty, base, other):
    assert PenalisedGain("accuracy", penalty)(base | {"other": other}, base) == 0.0


@given(penalties, means, means)
def test_it_is_the_gain_less_the_price_of_the_loss(penalty, mean, base):
    value = PenalisedGain("accuracy", penalty)(mean, base)
    gain = mean["TR"] - base["TR"]
    if mean["TP"] >= base["TP"]:
        assert value == gain
    else:
        assert value == pytest.approx(gain - penalty * (base["TP"] - mean["TP"]))


@given(penalties, means, means, shares)
def test_a_gain_in_perception_is_never_rewarded(penalty, mean, base, more):
    objective = PenalisedGain("accuracy", penalty)
    at_least = {"TR": mean["TR"], "TP": max(base["TP"], more)}
    assert objective(at_least, base) == objective(at_least | {"TP": base["TP"]}, base)


@given(penalties, means, means, means)
def test_more_of_either_role_is_never_worse(penalty, one, other, base):
    objective = PenalisedGain("accuracy", penalty)
    better = {role: max(one[role], other[role]) for role in one}
    assert objective(better, base) >= objective(one, base)


@given(means, means, penalties, penalties)
def test_a_higher_price_is_never_a_higher_value(mean, base, one, other):
    cheap, dear = (PenalisedGain("accuracy", p) for p in sorted([one, other]))
    assert dear(mean, base) <= cheap(mean, base)


@given(means, means)
def test_without_a_price_perception_does_not_count(mean, base):
    value = PenalisedGain("probability", 0.0)(mean, base)
    assert value == mean["TR"] - base["TR"]


def test_the_default_objective_on_a_known_recipe():
    value = PenalisedGain("accuracy", 2.0)({"TR": 0.75, "TP": 0.5}, {"TR": 0.5, "TP": 0.625})
    assert value == 0.0


@pytest.mark.parametrize("penalty", [-0.1, float("nan"), float("-inf")])
def test_a_price_below_zero_is_refused(penalty):
    with pytest.raises(
        UserError, match=rf"objective\.penalty must be 0 or more and finite, got {penalty}"
    ):
        PenalisedGain("accuracy", penalty)


def test_an_unknown_score_lists_the_known_ones():
    message = (
        r"objective\.score is one of accuracy, probability, log_probability, margin; got 'f1'"
    )
    with pytest.raises(UserError, match=message):
        PenalisedGain("f1", 2.0)


@pytest.mark.parametrize(
    "objective", [ConstrainedGain("accuracy", 0.1), ParetoGain("accuracy", "knee", 0.1)]
)
@given(mean=means, other=means, base=means)
def test_every_objective_is_zero_at_the_base_and_never_falls_with_a_role(
    objective, mean, other, base
):
    assert objective(base, base) == 0.0
    better = {role: max(mean[role], other[role]) for role in mean}
    pairs = zip(objective.values(better, base), objective.values(mean, base), strict=True)
    assert all(one >= two for one, two in pairs)
    assert all(by <= 0.0 for by in objective.constraints(base, base).values())
    assert abs(objective(mean, base) - objective(other, base)) <= objective.widest


@given(means, means, shares)
def test_constrained_is_the_tr_gain_and_how_far_tp_lies_below_what_may_be_lost(
    mean, base, epsilon
):
    objective = ConstrainedGain("probability", epsilon)
    assert objective.values(mean, base) == (mean["TR"] - base["TR"],)
    assert objective(mean, base) == mean["TR"] - base["TR"]
    assert objective.constraints(mean, base) == {"TP loss": base["TP"] - mean["TP"] - epsilon}


@given(means, means)
def test_pareto_is_both_gains_and_reports_their_sum(mean, base):
    objective = ParetoGain("probability", "knee", 0.0)
    both = tuple(mean[role] - base[role] for role in ("TR", "TP"))
    assert objective.values(mean, base) == both
    assert objective(mean, base) == pytest.approx(sum(both))
    assert objective.constraints(mean, base) == {}


def test_the_rule_that_picks_is_not_what_a_study_is_known_by():
    knee, within = ParetoGain("accuracy", "knee", 0.0), ParetoGain("accuracy", "tp_loss", 0.1)
    assert knee.identity == within.identity
    assert knee.identity != ParetoGain("margin", "knee", 0.0).identity
    assert ConstrainedGain("accuracy", 0.1).identity != ConstrainedGain("accuracy", 0.2).identity


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ConstrainedGain("f1", 0.1), r"objective\.score is one of .*; got 'f1'"),
        (lambda: ConstrainedGain("accuracy", -0.1), r"objective\.epsilon must be 0 or more"),
        (lambda: ParetoGain("accuracy", "knee", float("nan")), r"epsilon must be 0 .* got nan"),
        (lambda: ParetoGain("accuracy", "best", 0.0), "one of knee, tp_loss; got 'best'"),
    ],
)
def test_what_an_objective_cannot_take_is_refused(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
