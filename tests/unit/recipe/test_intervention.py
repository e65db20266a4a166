from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.recipe.intervention import HOWS, MASKED_PARTS, Intervention

layers = st.sets(st.integers(0, 30), min_size=1).map(lambda found: tuple(sorted(found)))


@st.composite
def interventions(draw):
    part = draw(st.sampled_from(MASKED_PARTS))
    groups = st.none() | st.integers(0, 7) if part == "attention" else st.none()
    return Intervention(draw(layers), part, draw(st.sampled_from(HOWS)), draw(groups))


@given(interventions(), interventions())
def test_equal_interventions_alone_share_a_digest(one, other):
    assert (one == other) == (one.digest == other.digest)
    assert replace(one).digest == one.digest


def test_a_digest_is_the_same_in_every_version():
    assert Intervention((3, 5), "attention", "zero").digest == "ea8d3f22e636"


@pytest.mark.parametrize("wrong", [(), (3, 3), (5, 3)])
def test_layers_are_given_once_and_in_order(wrong):
    with pytest.raises(UserError, match=r"one or more, ascending; got \("):
        Intervention(wrong, "mlp", "zero")


def test_an_mlp_has_no_heads():
    with pytest.raises(UserError, match=r"^an MLP has no heads"):
        Intervention((0,), "mlp", "zero", 1)
