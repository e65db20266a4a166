"""Commands of studies that another version made."""

import pytest

from merit_opt.cli.retyped import command
from merit_opt.errors import UserError

ENGINE = "merit_opt.evaluation.engine.EngineSettings"


def test_an_option_that_has_moved_since_is_known_by_its_last_name():
    assert command({"engine": {"_target_": ENGINE, "threads": 3}}) == " engine.threads=3"


def test_an_option_that_this_version_lacks_is_a_sentence_and_no_option_is_made_up():
    with pytest.raises(UserError, match=r"its engine is gone\.Engine, which no option"):
        command({"engine": {"_target_": "gone.Engine", "threads": 3}})
