"""Whatever a file holds, a parser reads it or refuses it in a sentence."""

from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from merit_opt.errors import UserError
from tests.fuzzed import PARSERS, prepared


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside") / "root"
    folder.mkdir()
    prepared(folder)
    return folder


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(by=st.randoms(use_true_random=False))
def test_a_changed_file_is_read_or_refused(name, folder, by):
    parser = PARSERS[name]
    parser.takes(folder / "input", parser.grammar.made(by))


@pytest.mark.parametrize("name", PARSERS)
def test_two_thousand_seeds_are_read_or_refused_and_some_are_either(name, folder):
    parser = PARSERS[name]
    told = [parser.takes(folder / "input", parser.grammar.made(Random(i))) for i in range(2000)]
    assert 40 < told.count("") < 400


def test_a_fault_is_seen(folder):
    def fails(path):
        raise KeyError(path)

    with pytest.raises(KeyError):
        type(PARSERS["recipe"])(PARSERS["recipe"].grammar, fails).takes(folder / "input", b"")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"schema":1,"n_layers":' + b"9" * 5000 + b',"layers":{}}', "cannot be read: Exceeds"),
        (b"[" * 100_000, "cannot be read: maximum recursion"),
        (b'{"schema":1,"n_layers":1000000000000,"layers":{}}', "at most 10000 layers, got 1000"),
        (b'{"schema":1,"n_layers":true,"layers":{}}', 'an integer "n_layers"'),
    ],
)
def test_a_recipe_that_would_take_all_memory_is_refused(folder, content, told):
    assert told in PARSERS["recipe"].takes(folder / "input", content)


@given(st.text(min_size=1000, max_size=1200))
@example("\ud800" * 1000)
def test_a_refusal_shows_the_beginning_of_what_it_refuses(long):
    with pytest.raises(UserError) as refused:
        from_words(long)
    assert len(str(refused.value)) < 700


def from_words(long):
    import json

    from merit_opt.recipe.recipe import from_json

    rule = {"rule": long, "coefficient": 1}
    from_json(json.dumps({"schema": 1, "n_layers": 1, "layers": {"0": {"mlp": rule}}}))
