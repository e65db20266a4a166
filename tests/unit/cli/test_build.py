"""Option files become objects of the right types, or are refused with every problem."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.build import convert, factories
from merit_opt.errors import UserError
from merit_opt.models.source import FolderOrId
from merit_opt.search.spaces.limits import LayerSpan

SPAN = "a layer such as 3 or, the lower first, layers such as 8..27"

values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=3)
)


@given(values, st.sampled_from([str, Path, int, float]))
def test_what_is_converted_has_the_type_asked_for_and_equals_what_was_given(value, wanted):
    try:
        found = convert(value, wanted)
    except ValueError:
        fits = isinstance(value, str if wanted is Path else wanted)
        assert not fits or isinstance(value, bool) or str(value).startswith("~")
        return
    assert isinstance(found, wanted)
    assert found == (Path(value).expanduser() if wanted is Path else value)


@given(values)
def test_an_optional_value_may_be_missing_and_is_else_what_it_would_be(value):
    if value is None:
        assert convert(value, float | None) is None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        assert convert(value, float | None) == float(value)


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        (True, int, "a whole number"),
        (1.0, int, "a whole number"),
        ("1", int, "a whole number"),
        (False, float, "a number"),
        (None, str, "a text"),
        (3, str, "a text"),
        (3, Path, "a path"),
        (0.5, tuple[float, ...], "a list"),
        (["a"], tuple[float, ...], "a number"),
        ("c", Literal["a", "b"], "one of a, b"),
        ("8..27", tuple[LayerSpan, ...], "a list"),
        (["27..8"], tuple[LayerSpan, ...], SPAN),
        (["8...27"], tuple[LayerSpan, ...], SPAN),
        (["8.."], tuple[LayerSpan, ...], SPAN),
        ([-1], tuple[LayerSpan, ...], SPAN),
        ([True], tuple[LayerSpan, ...], SPAN),
        ([2.0], tuple[LayerSpan, ...], SPAN),
    ],
)
def test_a_wrong_type_is_told_with_the_right_one(value, wanted, expected):
    with pytest.raises(ValueError, match=f"^expected {expected}, got "):
        convert(value, wanted)


def test_a_path_may_begin_at_home_and_at_no_unknown_user_s(monkeypatch):
    monkeypatch.setenv("HOME", "somewhere")
    assert convert("~/pairs/vlm", Path) == Path("somewhere/pairs/vlm")
    with pytest.raises(ValueError, match="expected a path, got '~nobody-here/vlm': there is no"):
        convert("~nobody-here/vlm", Path)


def test_a_checkpoint_s_name_may_begin_at_home_and_is_else_left_as_it_is(monkeypatch):
    monkeypatch.setenv("HOME", "somewhere")
    assert convert("~/pairs/vlm", FolderOrId | None) == "somewhere/pairs/vlm"
    assert convert("./vlm", FolderOrId) == "./vlm"
    assert convert("acme/vlm", FolderOrId) == "acme/vlm"


def test_a_list_becomes_a_tuple_of_its_type():
    assert convert([1, 2], tuple[float, ...]) == (1.0, 2.0)
    assert {type(item) for item in convert([1, 2], tuple[float, ...])} == {float}


def test_layers_are_single_or_from_one_to_another_both_included():
    spans = convert([0, "3", "8..10", "5..5"], tuple[LayerSpan, ...] | None)
    assert [list(span) for span in spans] == [[0], [3], [8, 9, 10], [5]]


def layerwise(**changes):
    option = OmegaConf.to_container(OmegaConf.load(conf_dir() / "space" / "layerwise.yaml"))
    return OmegaConf.create({"space": option | changes, "seed": 0, "study": {"trials": 3}})


def test_a_factory_is_called_with_the_options_and_what_the_program_knows():
    built = factories(layerwise(), {}, space={"n_layers"})
    assert built.keys() == {"space"}
    space = built["space"].build(n_layers=9)
    assert (space.n_layers, space.low, space.high) == (9, 0.1, 1.0)


def test_an_option_cannot_give_what_the_program_gives():
    with pytest.raises(UserError, match=r"space\.n_layers is not known"):
        factories(layerwise(n_layers=3), {}, space={"n_layers"})


def test_keys_of_its_own_are_checked_and_kept_from_the_factory():
    own = {"space": {"share": float}}
    built = factories(layerwise(share=0.5), own, space={"n_layers"})
    assert "share" not in built["space"].arguments
    with pytest.raises(UserError, match=r"space\.share: expected a number, got 'most'"):
        factories(layerwise(share="most"), own, space={"n_layers"})


def test_every_problem_is_told_at_once():
    cfg = layerwise(low="x", hihg=1.0)
    del cfg.space.high
    with pytest.raises(UserError) as refused:
        factories(cfg, {}, space={"n_layers"})
    assert str(refused.value).splitlines()[1:] == [
        "  space.low: expected a number, got 'x'",
        "  space.hihg is not known; did you mean space.high?",
        "  space.high must be given",
    ]
