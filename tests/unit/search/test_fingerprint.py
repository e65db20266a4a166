"""A study goes on under the settings it was started with, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.search.fingerprint import digest, require_same

PARTS = {"pair": "abc", "suite": "def", "space": "Layerwise(0.1, 1.0)"}
texts = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)


@given(texts)
def test_the_digest_does_not_depend_on_order(parts):
    assert digest(parts) == digest(dict(reversed(list(parts.items()))))


@given(texts, texts)
def test_other_parts_have_another_digest(one, other):
    assert (digest(one) == digest(other)) == (one == other)


def test_the_same_settings_may_join(world):
    study = world.study()
    for _ in range(3):
        require_same(study, PARTS)
    assert study.user_attrs["fingerprint"] == PARTS


def test_other_settings_are_refused_with_each_difference(world):
    require_same(world.study(), PARTS)
    other = {"pair": "abc", "suite": "xyz", "engine": "new"}
    with pytest.raises(UserError) as refused:
        require_same(world.study(), other)
    assert str(refused.value).splitlines() == [
        "study s was started with other settings, so its trials do not compare with this run's:",
        "  engine: the study has None, this run has new",
        "  space: the study has Layerwise(0.1, 1.0), this run has None",
        "  suite: the study has def, this run has xyz",
        (
            "Give the old settings (config.yaml in the study's folder) to resume it, another "
            "study.name= to start anew, or study.fork=NEW to start a study NEW that first tries "
            "what s found."
        ),
    ]
    assert world.study().user_attrs["fingerprint"] == PARTS
