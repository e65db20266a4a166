"""`study:NAME` and `study:NAME/N` find what was measured, or say what there is."""

import optuna
import pytest

from merit_opt.errors import UserError
from merit_opt.search.lookup import told_study
from merit_opt.search.references import study_recipe
from merit_opt.search.trial import best


@pytest.fixture
def measured(world):
    world.run(9)
    return world


def test_a_study_s_name_is_its_best_recipe(measured):
    found = study_recipe(measured.storage, "study:s")
    assert found.recipe == best(measured.study()).recipe
    assert found.pair == "p"


def test_a_number_is_that_trial_s_recipe(measured):
    for record in measured.told.trials:
        assert study_recipe(measured.storage, f"study:s/{record.number}").recipe == record.recipe


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("study:S", r"there is no study 'S' in this storage; did you mean study:s\?"),
        ("study:s/99", "study s has no measured trial 99"),
        ("study:s/x", r"there is no study 's/x' in this storage; did you mean study:s\?"),
        ("study:", r"there is no study '' in this storage; did you mean study:s\?"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(measured, reference, sentence):
    with pytest.raises(UserError, match=f"^{sentence}$"):
        study_recipe(measured.storage, reference)


def test_an_empty_storage_says_so(world):
    with pytest.raises(UserError, match="it holds no study yet"):
        study_recipe(world.storage, "study:s")


def test_a_study_without_finished_trials_says_so(world):
    world.study()
    with pytest.raises(UserError, match="study s has no finished trial yet"):
        study_recipe(world.storage, "study:s")


def test_a_study_that_no_search_began_is_told_as_such(world):
    optuna.create_study(study_name="bare", storage=world.storage)
    for read in (
        lambda: study_recipe(world.storage, "study:bare"),
        lambda: told_study(world.storage, "bare"),
    ):
        with pytest.raises(
            UserError, match=r"^study bare .* none that merit-opt search has begun"
        ):
            read()
    with pytest.raises(UserError, match="study bare has no measured trial 0"):
        study_recipe(world.storage, "study:bare/0")


def test_a_failed_trial_has_no_recipe_to_offer(world, failing):
    world.engine.before = failing({5})
    world.run(8)
    with pytest.raises(UserError, match="study s has no measured trial 3"):
        study_recipe(world.storage, "study:s/3")
