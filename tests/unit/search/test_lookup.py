"""A study read back from its storage."""

import pytest

from merit_opt.errors import UserError
from merit_opt.search.lookup import told_study


def test_what_a_study_told_is_read_and_nothing_of_it_changes(world):
    result = world.run(25)
    before = world.study().get_trials()
    found = told_study(world.storage, "s")
    assert world.study().get_trials() == before
    assert found.record.fingerprint == result["fingerprint"]
    assert found.record.uid == result["uid"]
    assert [t.number for t in found.trials] == list(range(25))
    assert found.states == {"COMPLETE": 25}
    assert found.best is not None
    assert found.best.recipe.digest == result["best"]["digest"]
    assert found.front == ()


def test_a_name_that_is_not_there_is_told_with_the_nearest_one(world):
    world.run(14)
    with pytest.raises(UserError, match="there is no study 's2' in this storage; did you mean s"):
        told_study(world.storage, "s2")


def test_an_empty_storage_is_told(world):
    with pytest.raises(UserError, match="it holds no study yet"):
        told_study(world.storage, "s")
